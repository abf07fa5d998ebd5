// "/" goes to the question, arrow keys go through the hits, a change of run or number searches again.
"use strict";
document.addEventListener("keydown", (event) => {
  const field = document.querySelector("input[type=search]");
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "/" && !typing && field) {
    event.preventDefault();
    field.focus();
    field.select();
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  if (typing && document.activeElement !== field) return;
  const links = [...document.querySelectorAll("ol.hits a.title")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = event.key === "ArrowDown" ? at + 1 : at - 1;
  if (next < -1 || next >= links.length) return;
  event.preventDefault();
  (next < 0 ? field : links[next]).focus();
});
for (const choice of document.querySelectorAll(".more select, .more input[type=checkbox]")) {
  choice.addEventListener("change", () => choice.form.requestSubmit());
}
