"use strict";
// Shows of all clips those of one source, one reason, one person; what is said of a clip is compared and counted, never run.
const bar = document.querySelector(".filters");
const clips = [...document.querySelectorAll("[data-clip]")];
const told = bar.querySelector("output");
function choose() {
  const wanted = [...bar.querySelectorAll("select")].filter((select) => select.selectedIndex > 0);
  for (const clip of clips) {
    clip.hidden = !wanted.every((select) => clip.dataset[select.name] === select.value);
  }
  if (wanted.length > 0) {
    for (const page of document.querySelectorAll("details")) {
      page.open ||= page.querySelector("[data-clip]:not([hidden])") !== null;
    }
  }
  told.value = `${clips.filter((clip) => !clip.hidden).length} of ${clips.length} clips that are shown here`;
}
bar.addEventListener("change", choose);
bar.hidden = false;
choose();
