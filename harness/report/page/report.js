"use strict";
// A mark tells its figures in its aria-label; here that is shown, on pointing, touching and by the arrow keys.
(() => {
  const tip = document.getElementById("tip");
  const reach = 24; // pixels around a mark, as fingers are wide
  let chosen = null;

  const marksOf = (svg) => [...svg.querySelectorAll(".role-mark [aria-label], .role-mark[aria-label]")];
  const middle = (mark) => {
    const box = mark.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const distance = (mark, x, y) => {
    const box = mark.getBoundingClientRect();
    return Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
  };

  const hide = () => {
    if (chosen) chosen.classList.remove("chosen");
    chosen = null;
    tip.hidden = true;
  };
  const show = (mark) => {
    if (mark === chosen) return;
    hide();
    chosen = mark;
    mark.classList.add("chosen");
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    place();
  };
  const place = () => {
    const [x, y] = middle(chosen);
    const left = Math.min(Math.max(8, x - tip.offsetWidth / 2), document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = y - tip.offsetHeight - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < 4 ? y + 14 : above}px`;
  };

  const point = (event) => {
    const svg = event.target.closest(".drawing svg");
    if (!svg) return hide();
    let nearest = null, least = reach;
    for (const mark of marksOf(svg)) {
      const far = distance(mark, event.clientX, event.clientY);
      if (far < least || (far === 0 && least === 0)) [nearest, least] = [mark, far];
    }
    return nearest ? show(nearest) : hide();
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  // What the keys have chosen is brought into view, which scrolls; what a pointer has is left behind by scrolling.
  const isByKeys = () => chosen !== null && chosen.closest("svg") === document.activeElement;
  document.addEventListener("scroll", () => (isByKeys() ? place() : hide()), { passive: true, capture: true });

  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const svg of document.querySelectorAll(".drawing svg")) {
    svg.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const step = steps[event.key], marks = marksOf(svg);
      if (!step || !marks.length) return;
      event.preventDefault();
      const at = marks.indexOf(chosen);
      show(marks[at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length]);
      chosen.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
      place();
    });
    svg.addEventListener("blur", hide);
  }

  // On paper nothing can be opened.
  const printed = [...document.querySelectorAll("details.printed:not([open])")];
  window.addEventListener("beforeprint", () => printed.forEach((one) => { one.open = true; }));
  window.addEventListener("afterprint", () => printed.forEach((one) => { one.open = false; }));
})();
