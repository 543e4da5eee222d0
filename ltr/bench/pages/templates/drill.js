// Two systems compared query by query: counts, a histogram of differences, the queries behind each bar.
// view: {systems, start, measures, measureOf: () -> k or 0, values: (system) -> [query], queries, scale, p}
function drill(root, view) {
  const {queries, scale} = view;
  const state = {a: view.start[0], b: view.start[1], bin: null, order: 0, rows: 12, k: 0};
  const fixed = (value, digits = 4) => value === null ? "–" : (value / scale).toFixed(digits);
  const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${fixed(Math.abs(value))}`;
  const ORDERS = ["largest differences", "largest wins", "largest losses"];

  const first = chooser("System", view.systems, state.a, (i) => { state.a = i; pick(); });
  const second = chooser("against", view.systems, state.b, (i) => { state.b = i; pick(); });
  const measure = view.measures.length > 1
    ? chooser("in", view.measures, 0, (k) => { state.k = k; pick(); }) : null;
  const swap = make("button", {type: "button", onclick: () => {
    [state.a, state.b] = [state.b, state.a];
    first.select.value = state.a;
    second.select.value = state.b;
    pick();
  }}, "Swap");
  const words = make("p", {class: "words", "aria-live": "polite"});
  const plot = make("div", {class: "histogram"});
  const order = chooser("Queries by", ORDERS, 0, (i) => { state.order = i; state.rows = 12; list(); });
  const every = make("button", {type: "button", onclick: () => { state.bin = null; draw(); list(); }}, "All differences");
  const more = make("button", {type: "button", onclick: () => { state.rows += 24; list(); }}, "More queries");
  const body = make("tbody");
  const heads = ["query", "fold", "", "", "difference"].map((text) =>
    make("th", {scope: "col", class: text === "query" || text === "fold" ? "left" : null, hidden: text === "fold" && queries.folds.length < 2}, text));
  const counted = make("caption", {class: "caption"});
  root.append(
    make("div", {class: "controls"}, first, second, measure, swap), words, plot,
    make("div", {class: "controls"}, order, every),
    make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Queries, scrolls sideways"},
      make("table", {class: "queries"}, counted, make("thead", {}, make("tr", {}, ...heads)), body)), more);

  let found = [], reach = 1, bins = new Map(), width = 0;
  const SIDE = 15; // bars on either side of zero
  const binOf = (d) => d > 0 ? Math.min(SIDE - 1, Math.ceil(d / reach * SIDE) - 1) : -Math.min(SIDE, Math.ceil(-d / reach * SIDE));

  function pick() { state.bin = null; state.rows = 12; update(); }
  function update() {
    const [one, other] = [view.values(state.a, state.k), view.values(state.b, state.k)];
    found = [];
    one.forEach((v, i) => { if (v !== null && other[i] !== null) found.push({i, a: v, b: other[i], d: v - other[i]}); });
    reach = Math.max(1, ...found.map((f) => Math.abs(f.d)));
    bins = new Map();
    for (const f of found) if (f.d) bins.set(binOf(f.d), (bins.get(binOf(f.d)) || 0) + 1);
    const [better, worse] = [found.filter((f) => f.d > 0).length, found.filter((f) => f.d < 0).length];
    const mean = sum(found.map((f) => f.d)) / (found.length || 1);
    const p = view.p && view.p[state.a] ? view.p[state.a][state.b] : null;
    const [a, b] = [view.systems[state.a], view.systems[state.b]];
    words.replaceChildren(
      make("b", {}, a), ` is better on `, make("b", {class: "better"}, String(better)), `, equal on ${found.length - better - worse} and worse on `,
      make("b", {class: "worse"}, String(worse)), ` of ${found.length} queries; mean difference to ${b} `, make("b", {}, signed(mean)),
      state.a !== state.b && p !== null && p !== undefined ? `, p ${p ? `= ${fixed(p)}` : "< 0.0001"} (paired randomisation, Holm over all pairs)` : "",
      ".", queries.ids.length < queries.of ? ` Shown is a sample of ${queries.ids.length} of ${queries.of} queries.` : "");
    heads[2].textContent = a;
    heads[3].textContent = b;
    draw();
    list();
  }

  function draw() {
    if (!width) return;
    const box = {left: 44, right: width - 10, top: 24, bottom: 190};
    const x = scaleOf(-reach / scale, reach / scale, box.left, box.right);
    const most = Math.max(1, ...bins.values());
    const y = scaleOf(0, most * 1.05, box.bottom, box.top);
    const step = (box.right - box.left) / (2 * SIDE);
    const keys = [...bins.keys()].sort((a, b) => a - b);
    const bars = keys.map((bin) => {
      const [low, high] = [bin, bin + 1].map((e) => fixed(e * reach / SIDE, 3));
      return make("rect", {
        x: box.left + (bin + SIDE) * step + 1, width: Math.max(1, step - 2), y: y(bins.get(bin)), height: box.bottom - y(bins.get(bin)),
        class: bin >= 0 ? "win" : "loss", role: "button", tabindex: -1, "data-bin": bin, "aria-pressed": state.bin === bin,
        "aria-label": `${bins.get(bin)} queries, difference ${low} to ${high}`,
        onclick: () => toggle(bin),
        onpointermove: (event) => say(event, `${bins.get(bin)} queries`, `difference ${low} to ${high}`), onpointerleave: hush,
      });
    });
    const entry = bars.find((bar) => +bar.dataset.bin === state.bin) || bars[0];
    if (entry) entry.setAttribute("tabindex", 0); // one stop for Tab; arrows go from bar to bar
    const [a, b] = [view.systems[state.a], view.systems[state.b]];
    const room = Math.floor((width / 2 - 90) / 7);
    const fit = (text) => text.length > room ? `${text.slice(0, room - 1)}…` : text;
    const held = plot.contains(document.activeElement);
    plot.replaceChildren(make("svg", {
      width, height: 226, role: "group", "aria-label": "Histogram of differences a query; arrow keys go from bar to bar, Enter lists its queries",
      onkeydown: (event) => {
        const at = bars.indexOf(document.activeElement);
        const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: bars.length - 1}[event.key];
        if (at < 0) return;
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(+bars[at].dataset.bin); }
        else if (to !== undefined && bars[to]) { event.preventDefault(); bars.forEach((r, i) => r.setAttribute("tabindex", i === to ? 0 : -1)); bars[to].focus(); }
      }},
      axes(x, y, box, width < 500 ? 4 : 8, 4, 1),
      make("line", {x1: x(0), x2: x(0), y1: box.top, y2: box.bottom, class: "zero"}),
      make("text", {x: x(0) - 8, y: 14, "text-anchor": "end", class: "side worse"}, `◀ ${fit(b)} better`),
      make("text", {x: x(0) + 8, y: 14, class: "side better"}, `${fit(a)} better ▶`),
      make("text", {x: (box.left + box.right) / 2, y: 222, "text-anchor": "middle"}, "difference, a query (equal ones are not drawn)"),
      ...bars));
    if (held && entry) entry.focus();
    every.hidden = state.bin === null;
  }
  function toggle(bin) { state.bin = state.bin === bin ? null : bin; state.rows = 12; hush(); draw(); list(); }

  function list() {
    const rank = [(f) => -Math.abs(f.d), (f) => -f.d, (f) => f.d][state.order];
    const wanted = found.filter((f) => f.d && (state.bin === null || binOf(f.d) === state.bin)
      && (state.order === 0 || (state.order === 1 ? f.d > 0 : f.d < 0)));
    wanted.sort((p, q) => rank(p) - rank(q) || p.i - q.i);
    const largest = Math.max(1, ...found.map((f) => Math.abs(f.d)));
    body.replaceChildren(...wanted.slice(0, state.rows).map((f) => make("tr", {},
      make("th", {scope: "row"}, queries.ids[f.i]), make("td", {class: "left", hidden: queries.folds.length < 2}, queries.folds[queries.fold[f.i]]),
      make("td", {}, fixed(f.a)), make("td", {}, fixed(f.b)),
      make("td", {}, make("div", {class: "diverging"}, make("span", {class: f.d > 0 ? "win" : "loss", style: `--w:${Math.abs(f.d) / largest}`}), signed(f.d))))));
    counted.textContent = `${Math.min(state.rows, wanted.length)} of ${wanted.length} queries that differ${state.bin === null ? "" : " in the chosen bar"}`;
    more.hidden = state.rows >= wanted.length;
  }

  sized(plot, (w) => { width = w; draw(); });
  update();
  return {update: () => { state.bin = null; update(); }};
}
