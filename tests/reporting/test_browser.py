"""The page in a real browser; skipped where none is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from safelight.profiling.profile import Profile
from safelight.reporting.collect import collect
from safelight.reporting.page import page
from safelight.reporting.profile.page import page as data_page
from tests.reporting.stand_in import StandInRun

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser found: {', '.join(NAMES)}")

QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    "--hide-scrollbars",
]
# Runs before the page's own script: notes what the page tries to load.
WATCH = """<script>
const refused = [];
addEventListener("securitypolicyviolation", (e) => refused.push(e.blockedURI));
const failed = [];
addEventListener("error", (e) => failed.push(String(e.message || e.target.outerHTML)), true);
</script>"""
# Runs at the end, and tells the frame's owner what the question gave.
ASK = """<script>
addEventListener("load", () => setTimeout(async () => {
  parent.postMessage(JSON.stringify(await (async () => { %s })()), "*");
}, 200));
</script></body>"""
# A window can't be made as narrow as a phone, a frame can.
FRAME = """<!doctype html><pre id="answer"></pre>
<script>addEventListener("message", (e) => { answer.textContent = e.data; });</script>
<iframe src="asked.html" width="%d" height="900" style="border: 0"></iframe>"""


def ask(html: str, question: str, folder: Path, width: int = 1400) -> Any:
    """The value that `question` (JavaScript) returns in the page at this width."""
    policy = html.index("<title>")
    watched = html[:policy] + WATCH + html[policy:]
    (folder / "asked.html").write_text(watched.replace("</body>", ASK % question), "utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME % width, "utf-8")
    window = ["--virtual-time-budget=8000", f"--window-size={width + 40},1000", "--dump-dom"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [BROWSER or "", *QUIET, profile, *window, frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="answer">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(unescape(found[1]))


@pytest.fixture(scope="module")
def html(digits: tuple[torch.Tensor, torch.Tensor], tmp_path_factory: Any) -> str:
    images, labels = digits
    names = ("a name that is rather long for a class", "Donaudampfschiff" * 3, *"23456789")
    path = tmp_path_factory.mktemp("run") / ("run-" * 12)
    return page(collect(StandInRun(path, images, labels, names)))  # type: ignore[arg-type]


LAYOUT = """
const wide = [...document.querySelectorAll("body *")].filter((e) =>
  !e.closest(".scroll") && !e.closest("svg") && e.getBoundingClientRect().right > innerWidth + 1);
const html = document.documentElement;
return [innerWidth, html.scrollWidth, wide.map((e) => e.outerHTML.slice(0, 80))];
"""


@pytest.mark.parametrize("width", [320, 390, 700, 1400])
def test_no_width_makes_the_page_scroll_sideways(html: str, tmp_path: Path, width: int) -> None:
    """X14: phones and wide screens, with long names of classes and of the run."""
    assert ask(html, LAYOUT, tmp_path, width) == [width, width, []]


LOADED = """
const names = performance.getEntriesByType("resource").map((e) => e.name.slice(0, 40));
const broken = [...document.images].filter((i) => !i.complete || !i.naturalWidth).length;
return [names.filter((n) => !n.startsWith("data:")), refused, failed, broken];
"""


def test_no_request_leaves_the_page(html: str, tmp_path: Path) -> None:
    """X14: nothing is loaded, nothing is even tried, and every picture shows."""
    assert ask(html, LOADED, tmp_path) == [[], [], [], 0]


def test_the_page_of_a_cache_fits_a_phone(base: Profile, tmp_path: Path) -> None:
    """F11, X14: nothing scrolls sideways, nothing is loaded, and small maps have round points."""
    drawn = """
    const cap = getComputedStyle(document.getElementById("map-all")).strokeLinecap;
    return [await (async () => { %s })(), await (async () => { %s })(), cap];
    """
    names = ("Donaudampfschiff" * 3, "three", "seven")
    found = replace(base, groups=replace(base.groups, classes=names))
    layout, loaded, cap = ask(data_page(found), drawn % (LAYOUT, LOADED), tmp_path, 320)
    assert layout == [320, 320, []]
    assert loaded == [[], [], [], 0]
    assert cap == "round"


def test_a_request_would_be_seen(html: str, tmp_path: Path) -> None:
    """The test above can fail: a picture from elsewhere is refused and noticed."""
    bad = html.replace("<main>", '<main><img src="http://127.0.0.1:9/x.png" alt="x">', 1)
    _, refused, _, broken = ask(bad, LOADED, tmp_path)
    assert refused == ["http://127.0.0.1:9/x.png"]
    assert broken == 1


PLAYED = """
const [button, slider, label] = ["button", "input", "output"].map((n) =>
  document.querySelector(`.film ${n}`));
const image = document.querySelector(".film img");
const last = image.src;
const seen = [[document.querySelector(".film .controls").hidden, label.textContent]];
slider.value = 0;
slider.dispatchEvent(new Event("input"));
seen.push([image.src === last, label.textContent]);
button.click();
seen.push(button.textContent);
await new Promise((done) => setTimeout(done, 6000));
seen.push([image.src === last, label.textContent, button.textContent]);
return seen;
"""


def test_the_animation_plays_from_first_to_last(html: str, tmp_path: Path) -> None:
    """K11: the slider shows a moment, the button plays to the end and stops there."""
    assert ask(html, PLAYED, tmp_path) == [
        [False, "step 5,000"],
        [False, "step 417"],
        "Pause",
        [True, "step 5,000", "Play"],
    ]
