"use strict";
// Sorting: numbers by value (thousands commas dropped), words by letter; empty cells stay at the end.
const value = (row, column) => (row.cells[column].firstChild?.textContent ?? "").trim();
const number = (text) => /^[-+]?[\d,]*\.?\d+/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN;
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const groups = [...table.tBodies].map((body) => [body, [...body.rows].filter((r) => !r.classList.contains("group"))]);
      const rows = groups.flatMap(([, own]) => own);
      const numeric = rows.every((r) => value(r, column) === "" || !isNaN(number(value(r, column))));
      const now = head.getAttribute("aria-sort");
      const down = now === null ? numeric && head.textContent.trim() !== "#" : now === "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const [body, own] of groups) body.append(...own.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = numeric ? number(x) - number(y) : x.localeCompare(y);
        return down ? -order : order;
      }));
    });
  });
  if (table.dataset.late) { // the columns that most readers need come first
    const more = document.createElement("button");
    const tell = (few) => { table.classList.toggle("few", few); more.textContent = few ? `${table.dataset.late} more columns` : "Fewer columns"; more.setAttribute("aria-expanded", !few); };
    Object.assign(more, {type: "button", className: "more", onclick: () => tell(!table.classList.contains("few"))});
    table.parentElement.after(more);
    tell(true);
  }
}
const theme = document.getElementById("theme");
const dark = () => document.documentElement.dataset.theme
  ? document.documentElement.dataset.theme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
const show = () => { theme.setAttribute("aria-pressed", dark()); theme.textContent = dark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; show(); });
show();
