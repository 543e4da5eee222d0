"use strict";
// Sorting: numbers by value (thousands commas dropped), words by letter; empty cells stay at the end.
const value = (row, column) => row.cells[column].textContent.trim();
const number = (text) => /^[-+]?[\d,]*\.?\d+/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN;
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const body = table.tBodies[0];
      const rows = [...body.rows];
      const numeric = rows.every((r) => value(r, column) === "" || !isNaN(number(value(r, column))));
      const now = head.getAttribute("aria-sort");
      const down = now === null ? numeric && head.textContent.trim() !== "#" : now === "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = numeric ? number(x) - number(y) : x.localeCompare(y);
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}
const theme = document.getElementById("theme");
const dark = () => document.documentElement.dataset.theme
  ? document.documentElement.dataset.theme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
const show = () => { theme.setAttribute("aria-pressed", dark()); theme.textContent = dark() ? "Light" : "Dark"; };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; show(); });
show();
