"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
const rows = all(".row");

// Filter: every word must occur in an item's address, id or status.
const find = one("#find");
const filter = () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of [...rows, ...all(".rejects figure")]) {
    item.hidden = !words.every((word) => item.dataset.find.includes(word));
  }
  one("#shown").textContent = rows.filter((row) => !row.hidden).length;
};
find.addEventListener("input", filter);
filter();

// Order: "<data attribute> <sign>"; rows without a value come last.
const order = one("#order");
const sort = () => {
  const [key, sign] = order.value.split(" ");
  const place = new Map(rows.map((row, i) => [row, i]));
  const rank = (row) => {
    if (key === "place") return place.get(row);
    return row.dataset[key] === "" ? Infinity : Number(sign) * Number(row.dataset[key]);
  };
  const compare = (a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return x === y ? place.get(a) - place.get(b) : x - y;
  };
  one(".rows").append(...[...rows].sort(compare));
};
order.addEventListener("change", sort);
if (order.value !== "place 1") sort(); // a browser restores the choice when it reloads the page

// A click enlarges an image; the arrow keys walk through those that are visible.
const dialog = one("dialog");
let current = null;
const enlarge = (frame) => {
  current = frame;
  const [source, target] = [one("img", frame), one("img", dialog)];
  target.src = source.src;
  target.alt = source.alt;
  one("p", dialog).textContent = source.alt;
  if (!dialog.open) dialog.showModal();
};
document.addEventListener("click", (event) => {
  const frame = event.target.closest("button.frame");
  if (frame) enlarge(frame);
  else if (dialog.contains(event.target)) dialog.close();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== find) {
    event.preventDefault();
    find.focus();
  }
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!dialog.open || !step) return;
  const frames = all("button.frame").filter((frame) => !frame.closest("[hidden]"));
  const next = frames[frames.indexOf(current) + step];
  if (next) enlarge(next);
});
