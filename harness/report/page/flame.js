"use strict";
// Flame graphs that can be searched and zoomed, one in each element of the class "flame", from the frames in it.
// Frames come as [name, samples, is kernel, [frames that it called]]; the figures are told as they are, not rounded.
function drawFlame(box) {
  const ROW_PX = 19, NARROWEST_PX = 0.4, LABELLED_PX = 24;
  const part = (name) => box.querySelector(`.${name}`);
  const { root, us } = JSON.parse(part("frames").textContent);
  const graph = part("graph"), told = part("told"), search = part("search"), found = part("found");
  const hint = told.textContent;
  const parents = new Map(), boxes = new Map();
  let shown = root, wanted = "";

  const [NAME, SAMPLES, KERNEL, CHILDREN] = [0, 1, 2, 3];

  function adopt(frame) {
    for (const child of frame[CHILDREN]) {
      parents.set(child, frame);
      adopt(child);
    }
  }

  // The outermost first.
  function callers(frame) {
    const found = [];
    for (let one = parents.get(frame); one; one = parents.get(one)) found.unshift(one);
    return found;
  }

  function share(samples, of) {
    return `${(100 * samples / of).toFixed(2)} %`;
  }

  function describe(frame) {
    const parts = [`${frame[NAME]}: ${frame[SAMPLES].toLocaleString("en")} samples`, `${share(frame[SAMPLES], root[SAMPLES])} of all`];
    if (shown !== root && callers(frame).includes(shown)) parts.push(`${share(frame[SAMPLES], shown[SAMPLES])} of ${shown[NAME]}`);
    if (us !== null) parts.push(`${(frame[SAMPLES] * us).toFixed(2)} µs per request`);
    return parts.join(", ");
  }

  function matches(frame) {
    return wanted !== "" && frame[NAME].toLowerCase().includes(wanted);
  }

  // Each sample once: what hangs under a frame that was found is part of it.
  function matched(frame) {
    if (matches(frame)) return frame[SAMPLES];
    return frame[CHILDREN].reduce((sum, child) => sum + matched(child), 0);
  }

  // Shares of the width and not pixels, so that it fits a window of another size until it is drawn again.
  function add(frame, left, width, row, above) {
    const box = document.createElement("button");
    box.type = "button";
    box.className = matches(frame) ? "match" : frame[KERNEL] ? "kernel" : "program";
    if (above) box.classList.add("above");
    box.style.cssText = `left:${100 * left}%;width:${100 * width}%;top:${row * ROW_PX}px`;
    if (width * graph.clientWidth >= LABELLED_PX) box.textContent = frame[NAME];
    else box.style.padding = "0";
    box.title = describe(frame);
    box.setAttribute("aria-label", box.title);
    box.addEventListener("click", () => { shown = frame; draw(); boxes.get(frame).focus({ preventScroll: true }); });
    box.addEventListener("pointerenter", () => { told.textContent = box.title; });
    box.addEventListener("focus", () => { told.textContent = box.title; });
    boxes.set(frame, box);
    graph.append(box);
  }

  function place(frame, left, width, row) {
    if (width * graph.clientWidth < NARROWEST_PX) return row;
    add(frame, left, width, row, false);
    let highest = row + 1, at = left;
    for (const child of frame[CHILDREN]) {
      const its = width * child[SAMPLES] / frame[SAMPLES];
      highest = Math.max(highest, place(child, at, its, row + 1));
      at += its;
    }
    return highest;
  }

  function draw() {
    graph.replaceChildren();
    boxes.clear();
    const above = callers(shown);
    above.forEach((one, row) => add(one, 0, 1, row, true));
    graph.style.height = `${place(shown, 0, 1, above.length) * ROW_PX}px`;
    found.textContent = wanted === "" ? "" : `in ${share(matched(root), root[SAMPLES])} of all samples`;
    told.textContent = shown === root ? hint : describe(shown);
  }

  search.addEventListener("input", () => { wanted = search.value.trim().toLowerCase(); draw(); });
  search.form.addEventListener("submit", (event) => event.preventDefault());
  part("reset").addEventListener("click", () => { shown = root; search.value = wanted = ""; draw(); });
  window.addEventListener("resize", draw);
  adopt(root);
  box.hidden = false;
  draw();
}
document.querySelectorAll(".flame").forEach(drawFlame);
