// Without this the maps can be read and zoomed by links; with it also by arrow keys, with each part told below the map.
"use strict";
const label = (tile) => tile.querySelector(":scope > a, :scope > span");
for (const map of document.querySelectorAll(".map")) {
  const readout = map.parentElement.querySelector(".readout");
  const hint = readout.textContent;
  const labels = [...map.querySelectorAll(".tile > a, .tile > span")];
  labels.forEach((one, index) => { one.tabIndex = index ? -1 : 0; });
  const show = (target) => { readout.textContent = target?.closest?.(".tile")?.dataset.told ?? hint; };
  const go = (tile) => {
    if (!tile) return;
    labels.forEach((one) => { one.tabIndex = -1; });
    label(tile).tabIndex = 0;
    label(tile).focus({ preventScroll: true });
  };
  map.addEventListener("pointerover", (event) => show(event.target));
  map.addEventListener("pointerleave", () => show(null));
  map.addEventListener("focusin", (event) => show(event.target));
  map.addEventListener("keydown", (event) => {
    const tile = event.target.closest(".tile");
    const to = {
      ArrowRight: () => tile.querySelector(":scope > ul > .tile"),
      ArrowLeft: () => tile.parentElement.closest(".tile"),
      ArrowDown: () => tile.nextElementSibling,
      ArrowUp: () => tile.previousElementSibling,
    }[event.key];
    if (!to) return;
    event.preventDefault();
    go(to());
  });
}
// Zooming is the address's own business; where the page stands is not to change with it.
document.addEventListener("click", (event) => {
  const link = event.target.closest(".tile > a");
  if (!link) return;
  event.preventDefault();
  const tile = link.parentElement;
  const isOpen = location.hash === `#${tile.id}`;
  const outer = tile.parentElement.closest(".tile");
  const [x, y] = [scrollX, scrollY];
  location.hash = isOpen ? outer?.id ?? tile.closest(".image").id : tile.id;
  scrollTo(x, y);
  link.focus({ preventScroll: true });
});
document.addEventListener("keydown", (event) => {
  const open = document.querySelector(".tile:target");
  if (event.key !== "Escape" || !open) return;
  const [x, y] = [scrollX, scrollY];
  location.hash = open.parentElement.closest(".tile")?.id ?? open.closest(".image").id;
  scrollTo(x, y);
});
