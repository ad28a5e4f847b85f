"use strict";
for (const film of document.querySelectorAll(".film")) {
  const frames = JSON.parse(film.querySelector("script").textContent);
  const image = film.querySelector("img");
  const controls = film.querySelector(".controls");
  const [button, slider, label] = ["button", "input", "output"].map((name) => controls.querySelector(name));
  let timer = null;
  const show = (i) => {
    slider.value = i;
    image.src = frames[i].uri;
    label.textContent = frames[i].label;
    slider.setAttribute("aria-valuetext", frames[i].label);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const advance = () => {
    const next = Number(slider.value) + 1;
    if (next >= frames.length) stop();
    else show(next);
  };
  button.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (Number(slider.value) === frames.length - 1) show(0);
    button.textContent = "Pause";
    timer = setInterval(advance, Math.min(400, 8000 / frames.length));
  });
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  image.decoding = "sync";
  controls.hidden = false;
}
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
});
