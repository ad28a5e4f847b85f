"""What mkdocs does besides: formulas become MathML, and two pages come from beside the folder.

`$...$` and `$$...$$` in the pages are LaTeX, which the code host draws by itself. For the site,
pymdownx.arithmatex finds them and `on_page_content` converts them with latex2mathml, so that its
pages need no script for them and no network.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BESIDE = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}  # page: file

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
NAME = re.compile(
    r'<m([io])[^>]*>([A-Za-z]{2,})</m\1>(?=(<mo stretchy="false">(?:&#x00028;|\[|&#x0005B;))?)'
)
COMMANDS = {  # what latex2mathml does better if it is said so
    r"\thinspace": r"\,",
    r"\lVert": r"\left\Vert ",
    r"\rVert": r"\right\Vert ",
    r"\lvert": r"\left\vert ",
    r"\rvert": r"\right\vert ",
}
REPAIRS = (
    ("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),  # "is drawn from" is a relation
    ("<mo>&#x02207;</mo>", '<mi mathvariant="normal">&#x02207;</mi>'),  # no space after it
    ("<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">&#x0002F;</mo>'),
    ('columnalign="right"', 'style="text-align: right"'),  # browsers have dropped the attribute
    ('columnalign="left"', 'style="text-align: left"'),
)
# A minus after an opening bracket or another operator is a sign.
SIGN = re.compile(r"(<mo[^>]*>(?!&#x00029;|\)|&#x0005D;|\])[^<]*</mo>)<mo>&#x02212;</mo>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs' event: all files of the site, to which it adds those that lie beside the folder."""
    for page, name in BESIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **context: object) -> str:
    """mkdocs' event: a page's text; links to and from the files beside it become the site's."""
    for page, name in BESIDE.items():
        markdown = markdown.replace(f"](../{name})", f"]({page})")
    return markdown.replace("](docs/", "](")


def on_page_content(html: str, **context: object) -> str:
    """mkdocs' event: the page's HTML, its formulas still in LaTeX -> in MathML."""
    return FORMULA.sub(lambda found: mathml(unescape(found[2]), found[1] == "div"), html)


def mathml(latex: str, block: bool) -> str:
    """One formula as a <math> element; a ValueError where latex2mathml does not know a command."""
    for command, better in COMMANDS.items():
        latex = latex.replace(command, better)
    found = convert(latex, display="block" if block else "inline")
    for poor, better in REPAIRS:
        found = found.replace(poor, better)
    if "\\" in found:
        raise ValueError(f"latex2mathml can't convert {latex.strip()!r}")
    return NAME.sub(_name, SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', found))


def _name(found: re.Match[str]) -> str:
    """log, tr and their like: operators with a thin space around them, but none before "("."""
    before = "0" if found.string[: found.start()].endswith("<mrow>") else "0.167em"
    after = "0" if found[3] else "0.167em"
    return f'<mo form="prefix" lspace="{before}" rspace="{after}">{found[2]}</mo>'
