"use strict";
// Draws the charts, sorts and filters the table of runs, opens a run's settings and history, and goes light or dark.
const page = JSON.parse(document.getElementById("page").textContent);
const root = document.documentElement;
const dark = () => root.dataset.theme === "dark";

function narrowed(spec) {
  const room = document.querySelector("main").clientWidth - 40;
  const fit = (part, share) => {
    if (typeof part.width === "number") part.width = Math.min(part.width, share);
    for (const inner of part.concat || []) fit(inner, share);
  };
  if (room < 700) {
    if (spec.concat) spec.columns = 1;
    fit(spec, Math.max(200, room - 90));
  }
  return spec;
}

async function draw() {
  for (const [number, chart] of page.charts.entries()) {
    const place = document.getElementById(`chart-${number}`);
    const spec = narrowed(structuredClone(chart));
    spec.config = dark() ? page.dark : page.light;
    const drawn = await vegaEmbed(place, spec, { actions: false, renderer: "svg", tooltip: { theme: dark() ? "dark" : "light" } });
    place.querySelector("svg").setAttribute("aria-hidden", "true");
    drawn.view.addEventListener("click", (event, item) => {
      const run = item && item.datum && item.datum.run;
      if (run) open(run);
    });
  }
}

function line(table, name, value) {
  const row = table.insertRow();
  row.insertCell().textContent = name;
  row.insertCell().textContent = value;
}

function open(key) {
  const run = page.runs[key];
  if (!run) return;
  const box = document.querySelector("dialog");
  box.querySelector("h3").textContent = run.name;
  const body = box.querySelector("div");
  body.replaceChildren();
  const part = (title) => {
    const heading = document.createElement("h4");
    heading.textContent = title;
    const frame = document.createElement("div");
    frame.className = "scroll";
    const table = document.createElement("table");
    frame.append(table);
    body.append(heading, frame);
    return table;
  };
  const facts = part("Run");
  for (const [name, value] of run.facts) line(facts, name, value);
  if (run.metrics.length) {
    const table = part("Final evaluation");
    const head = table.createTHead().insertRow();
    for (const name of page.levels) head.insertCell().textContent = name;
    for (const row of run.metrics) {
      const cells = table.insertRow();
      for (const cell of row) cells.insertCell().textContent = cell;
    }
  }
  if (run.history.length) {
    const names = [...new Set(run.history.flatMap((item) => Object.keys(item)))];
    const table = part("By epoch");
    const head = table.createTHead().insertRow();
    for (const name of names) head.insertCell().textContent = name;
    for (const item of run.history) {
      const cells = table.insertRow();
      for (const name of names) cells.insertCell().textContent = item[name] ?? "";
    }
  }
  const settings = part("Settings");
  for (const [name, value] of run.config) line(settings, name, value);
  box.showModal();
}

// The table: a click on a heading sorts, a click or Enter on a row opens the run.
const table = document.getElementById("runs");
const rows = [...table.tBodies[0].rows];
const heads = [...table.tHead.rows[0].cells];
const names = heads.map((head) => head.textContent.trim());
const number = (text) => (/^[-+]?\d*\.?\d+(e[-+]?\d+)?$/i.test(text) ? Number(text) : NaN);

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function sort(column, descending) {
  const sign = descending ? -1 : 1;
  rows.sort((one, two) => {
    const [a, b] = [value(one, column), value(two, column)];
    const [x, y] = [number(a), number(b)];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return sign * (Number.isNaN(x) ? a.localeCompare(b) : x - y);
  });
  table.tBodies[0].append(...rows);
  heads.forEach((head, at) => {
    if (at === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending"));
});

function matches(row, term) {
  const [, name, sign, wanted] = term.match(/^([^<>=!]+)(<=|>=|!=|=|<|>)(.+)$/) || [];
  if (!name) return row.textContent.toLowerCase().includes(term.toLowerCase());
  const wide = names.map((item) => item.toLowerCase());
  let column = wide.indexOf(name.toLowerCase());
  if (column < 0) column = wide.findIndex((item) => item.split("/").pop() === name.toLowerCase());
  if (column < 0) return null;
  const text = value(row, column);
  if (sign === "=") return text.toLowerCase() === wanted.toLowerCase() || number(text) === number(wanted);
  if (sign === "!=") return text.toLowerCase() !== wanted.toLowerCase() && number(text) !== number(wanted);
  const [x, y] = [number(text), number(wanted)];
  return sign === "<" ? x < y : sign === ">" ? x > y : sign === "<=" ? x <= y : x >= y;
}

const field = document.getElementById("filter");
field.addEventListener("input", () => {
  const terms = field.value.split(/\s+/).filter(Boolean);
  const unknown = new Set();
  let shown = 0;
  for (const row of rows) {
    const kept = terms.every((term) => {
      const answer = matches(row, term);
      if (answer === null) unknown.add(term);
      return answer !== false;
    });
    row.hidden = !kept;
    shown += kept;
  }
  const wrong = unknown.size ? `; no column for ${[...unknown].join(", ")}` : "";
  document.getElementById("count").textContent = `${shown} of ${rows.length} runs${wrong}`;
});

for (const row of rows) {
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a")) open(row.dataset.run);
  });
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.target.closest("a")) open(row.dataset.run);
  });
}

const preferred = window.matchMedia("(prefers-color-scheme: dark)");
const button = document.getElementById("theme");
function show(theme) {
  root.dataset.theme = theme;
  button.textContent = theme === "dark" ? "Light" : "Dark";
  return draw();
}
button.addEventListener("click", () => show(dark() ? "light" : "dark"));
preferred.addEventListener("change", () => show(preferred.matches ? "dark" : "light"));
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if ((width < 740) !== (window.innerWidth < 740)) draw();
  width = window.innerWidth;
});
show(preferred.matches ? "dark" : "light").then(() => root.setAttribute("data-ready", ""));
