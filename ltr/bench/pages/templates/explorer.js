// The Pareto explorer: preferences on sliders that snap to the lattice, the chosen points lit on every projection, and
// what they mean for the measures and for the best documents of a sample query.
function explorer(root, data) {
  const {objectives, lattice, partition: H, systems, scale, samples} = data;
  const m = objectives.length, names = systems.map((s) => s.name);
  const number = new Map(lattice.map((w, i) => [w.join(), i]));
  const listeners = [];
  const middle = lattice.map((w) => sum(w.map((n) => (n - H / m) ** 2)));
  const state = {
    at: middle.indexOf(Math.min(...middle)), before: null, split: "test", focus: data.start[0], other: data.start[1],
    shown: systems.map((_, s) => systems.length <= 8 || s < 6 || data.start.includes(s)), sample: 0, sort: m, down: true,
  };
  const fixed = (value) => value === null || value === undefined ? "–" : (value / scale).toFixed(4);
  const share = (n) => (n / H).toFixed(H === 10 || H === 5 || H === 2 ? 1 : 2);
  const told = (at) => objectives.map((o, k) => `${o} ${share(lattice[at][k])}`).join(", ");
  const point = (s, at) => systems[s].points[state.split][at];
  const whole = (s, at) => point(s, at).every((v) => v !== null);
  const asked = (s, at) => whole(s, at) ? sum(point(s, at).map((v, k) => v * lattice[at][k])) / H : null;

  // ---- sliders: one moves, the others share what is left in the proportion they had
  function moved(w, k, value) {
    const rest = H - value, had = sum(w) - w[k];
    const wish = w.map((n, j) => j === k ? 0 : rest * (had ? n / had : 1 / (m - 1)));
    const next = wish.map(Math.floor);
    const order = w.map((_, j) => j).filter((j) => j !== k).sort((i, j) => (wish[j] - next[j]) - (wish[i] - next[i]) || i - j);
    for (let left = rest - sum(next), i = 0; left > 0; left--, i++) next[order[i % order.length]]++;
    next[k] = value;
    return next;
  }
  const sliders = objectives.map((name, k) => {
    const id = `${data.id}-w${k}`;
    const input = make("input", {type: "range", id, min: 0, max: H, step: 1,
      oninput: () => go(number.get(moved(lattice[state.at], k, +input.value).join()))});
    const output = make("output", {for: id});
    return {input, output, row: make("div", {class: "slider"}, make("label", {for: id}, name), input, output)};
  });
  const corner = (k) => number.get(objectives.map((_, j) => j === k ? H : 0).join());
  const presets = make("div", {class: "controls presets", role: "group", "aria-label": "Preferences to start from"},
    make("button", {type: "button", onclick: () => go(middle.indexOf(Math.min(...middle)))}, H % m ? "most even" : "balanced"),
    ...objectives.map((name, k) => make("button", {type: "button", onclick: () => go(corner(k))}, `only ${name}`)));
  const splits = chooser("Points of", ["test", "validation"], 0, (i) => { state.split = i ? "vali" : "test"; draw(); });
  const sentence = make("p", {class: "words", "aria-live": "polite"});
  const map = m === 3 ? make("div", {class: "simplex"}) : null;
  const panels = make("div", {class: `panels n${m}`});

  // ---- the table of systems is the legend too
  const heads = [...objectives, "weighted sum"].map((text, k) => make("th", {scope: "col", title: k < m ? data.measures[k] : "sum of preference times measure",
    "aria-sort": k === state.sort ? "descending" : null},
    make("button", {type: "button", onclick: () => { state.down = state.sort === k ? !state.down : true; state.sort = k; sort(); }}, text)));
  const rows = systems.map((system, s) => {
    const check = make("input", {type: "checkbox", checked: state.shown[s], "aria-label": `draw ${system.name}`,
      onchange: () => { state.shown[s] = check.checked; draw(); }});
    const name = make("button", {type: "button", class: "name", "aria-pressed": false, onclick: () => look(s)}, swatch(s), system.name);
    const cells = [...objectives, ""].map(() => make("td"));
    return {cells, name, row: make("tr", {}, make("td", {class: "check"}, check), make("th", {scope: "row"}, name), ...cells)};
  });
  const body = make("tbody", {}, ...rows.map((r) => r.row));
  const all = make("input", {type: "checkbox", checked: state.shown.every(Boolean), "aria-label": "draw all systems", onchange: () => {
    state.shown.fill(all.checked);
    rows.forEach((r) => { r.row.querySelector("input").checked = all.checked; });
    draw();
  }});
  const table = make("div", {class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Measures at this preference, scrolls"},
    make("table", {class: "chosen"}, make("thead", {}, make("tr", {}, make("th", {class: "check"}, all), make("th", {scope: "col", class: "left"}, "system"), ...heads)), body));

  // ---- documents of a sample query
  const documents = make("div", {class: "documents"});
  const rival = chooser("Compare with", names, state.other, (i) => { state.other = i; draw(); });
  const which = samples.length ? chooser("Sample query", samples.map((q) => `${q.query} (${q.fold}, ${q.of} documents)`), 0, (i) => {
    state.sample = i; state.before = null; papers();
  }) : null;

  root.append(make("div", {class: "steer"}, make("div", {class: "sliders"}, ...sliders.map((s) => s.row)), map),
    make("div", {class: "controls"}, presets, splits), sentence,
    make("div", {class: `stage n${m}`, style: `--m:${m}`}, panels, make("div", {class: "below"}, make("div", {}, table),
      make("div", {}, make("div", {class: "controls"}, which, rival), documents))));

  function go(at) {
    if (at === undefined || at === state.at) { sliders.forEach((s, k) => { s.input.value = lattice[state.at][k]; }); return; }
    state.before = state.at;
    state.at = at;
    update();
  }
  function look(s) {
    if (state.other === s) state.other = state.focus;
    state.focus = s;
    rival.select.value = state.other;
    if (!state.shown[s]) { state.shown[s] = true; rows[s].row.querySelector("input").checked = true; }
    draw();
  }

  // ---- projections
  const pairs = [];
  for (let i = 0; i < m; i++) for (let j = i + 1; j < m; j++) pairs.push([i, j]);
  const plots = pairs.map(([i, j]) => ({i, j, root: make("figure", {class: "panel"}), width: 0}));
  plots.forEach((plot) => { panels.append(plot.root); sized(plot.root, (width) => { plot.width = width; project(plot); }); });
  const parallel = m > 2 ? {root: make("figure", {class: "panel wide"}), width: 0} : null;
  if (parallel) { panels.append(parallel.root); sized(parallel.root, (width) => { parallel.width = width; lines(); }); }
  const visible = () => {
    const order = names.map((_, s) => s).filter((s) => state.shown[s] && s !== state.other && s !== state.focus);
    return [...order, state.other, state.focus].filter((s, n, list) => state.shown[s] && list.indexOf(s) === n);
  };

  function project(plot) {
    if (!plot.width) return;
    const {i, j, width} = plot, height = Math.round(clamp(width * (m === 2 ? 0.75 : 0.85), 220, 500));
    const box = {left: 52, right: width - 14, top: 10, bottom: height - 40};
    const seen = visible();
    const values = (k) => seen.flatMap((s) => lattice.map((_, at) => point(s, at)[k])).filter((v) => v !== null).map((v) => v / scale);
    const x = plot.x = scaleOf(...extent(values(i)), box.left, box.right);
    const y = plot.y = scaleOf(...extent(values(j)), box.bottom, box.top);
    const dots = make("g");
    for (const s of seen) {
      const ours = lattice.map((_, at) => at).filter((at) => whole(s, at));
      const drawn = (front) => ours.filter((at) => !!systems[s].front[at] === front)
        .map((at) => mark(s, x(point(s, at)[i] / scale), y(point(s, at)[j] / scale), m === 2 ? 4 : 3)).join("");
      const main = s === state.focus || s === state.other;
      if (main || m === 2 && seen.length <= 6) {
        dots.append(make("path", {d: staircase(ours.map((at) => [x(point(s, at)[i] / scale), y(point(s, at)[j] / scale)]), box),
          stroke: colour(s), class: `stairs${s === state.focus ? " focus" : ""}`}));
      }
      dots.append(make("path", {d: drawn(false), stroke: colour(s), class: `open${main ? " main" : ""}`}),
        make("path", {d: drawn(true), fill: colour(s), class: `full${main ? " main" : ""}`}));
    }
    plot.lit = make("g", {class: "lit"});
    const label = `${objectives[j]} against ${objectives[i]}, ${state.split === "test" ? "test" : "validation"} points of ${seen.length} systems; the sliders move the lit points`;
    plot.root.replaceChildren(make("svg", {width, height, role: "img", "aria-label": label,
      onpointermove: (event) => hover(plot, event), onpointerleave: hush, onclick: (event) => choose(plot, event)},
      axes(x, y, box, width < 340 ? 3 : 5, 5),
      make("text", {x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle", class: "axis"}, `${objectives[i]} →`),
      make("text", {x: 12, y: (box.top + box.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(box.top + box.bottom) / 2})`, class: "axis"}, `${objectives[j]} →`),
      dots, plot.lit));
    light(plot);
  }
  // Through the points that no other of the same system beats in both directions, as pixels (y grows downwards).
  function staircase(points, box) {
    const order = points.slice().sort((p, q) => q[0] - p[0] || p[1] - q[1]);
    const kept = [];
    for (const p of order) if (!kept.length || p[1] < kept[kept.length - 1][1]) kept.push(p);
    if (!kept.length) return "";
    let d = `M${kept[0][0].toFixed(1)},${box.bottom}`;
    kept.forEach((p, n) => { d += `V${p[1].toFixed(1)}H${n + 1 < kept.length ? kept[n + 1][0].toFixed(1) : box.left}`; });
    return d;
  }
  function light(plot) {
    if (!plot.lit) return;
    const marks = [];
    for (const s of visible()) {
      if (!whole(s, state.at)) continue;
      const p = point(s, state.at), px = plot.x(p[plot.i] / scale), py = plot.y(p[plot.j] / scale);
      const sd = state.split === "test" && systems[s].sd ? systems[s].sd[state.at] : null;
      if (s === state.focus) {
        if (sd && sd[plot.i] !== null && sd[plot.j] !== null) {
          const [dx, dy] = [Math.abs(plot.x(sd[plot.i] / scale) - plot.x(0)), Math.abs(plot.y(sd[plot.j] / scale) - plot.y(0))];
          marks.push(make("path", {d: `M${px - dx},${py}h${2 * dx}M${px},${py - dy}v${2 * dy}`, class: "whisker"}));
        }
        marks.push(make("circle", {cx: px, cy: py, r: 12, class: "ring"}));
      }
      marks.push(make("path", {d: mark(s, px, py, s === state.focus ? 7 : 6), fill: colour(s), class: "chosen", "data-system": s,
        "data-x": px.toFixed(2), "data-y": py.toFixed(2)}));
    }
    plot.lit.replaceChildren(...marks);
  }
  function nearest(plot, event) {
    const area = event.currentTarget.getBoundingClientRect();
    const [ex, ey] = [event.clientX - area.left, event.clientY - area.top];
    let best = null, least = 26 ** 2;
    for (const s of visible()) lattice.forEach((_, at) => {
      if (!whole(s, at)) return;
      const p = point(s, at), far = (plot.x(p[plot.i] / scale) - ex) ** 2 + (plot.y(p[plot.j] / scale) - ey) ** 2;
      if (far < least || far === least && s === state.focus) { least = far; best = {s, at}; }
    });
    return best;
  }
  function hover(plot, event) {
    const best = nearest(plot, event);
    if (!best) { hush(); return; }
    const {s, at} = best, sd = state.split === "test" && systems[s].sd ? systems[s].sd[at] : null;
    say(event, names[s], `preference ${told(at)}`,
      ...objectives.map((o, k) => `${o} ${fixed(point(s, at)[k])}${sd && sd[k] !== null ? ` ± ${fixed(sd[k])}` : ""}`),
      systems[s].front[at] ? "on its front (validation)" : "dominated on validation");
  }
  function choose(plot, event) {
    const best = nearest(plot, event);
    if (!best) return;
    if (best.s !== state.focus) look(best.s);
    go(best.at);
  }

  // ---- all objectives side by side: a line a system at this preference
  function lines() {
    if (!parallel || !parallel.width) return;
    const width = parallel.width, height = 230, top = 30, bottom = height - 26;
    const seen = visible();
    const at = objectives.map((_, k) => 50 + k * (width - 100) / (m - 1));
    const ys = objectives.map((_, k) => scaleOf(...extent(seen.flatMap((s) => lattice.map((_, i) => point(s, i)[k])).filter((v) => v !== null), 0.03), bottom, top));
    const path = (p) => p.map((v, k) => `${k ? "L" : "M"}${at[k].toFixed(1)},${ys[k](v).toFixed(1)}`).join("");
    const faint = lattice.map((_, i) => i).filter((i) => whole(state.focus, i)).map((i) => path(point(state.focus, i))).join("");
    const drawn = seen.filter((s) => whole(s, state.at)).map((s) => make("g", {},
      make("path", {d: path(point(s, state.at)), stroke: colour(s), class: s === state.focus ? "line focus" : s === state.other ? "line other" : "line"}),
      make("path", {d: point(s, state.at).map((v, k) => mark(s, at[k], ys[k](v), 4)).join(""), fill: colour(s)})));
    parallel.root.replaceChildren(make("svg", {width, height, role: "img", "aria-label": `All objectives at ${told(state.at)}, a line a system; thin: other preferences of ${names[state.focus]}`},
      ...objectives.flatMap((o, k) => [
        make("line", {x1: at[k], x2: at[k], y1: top, y2: bottom, class: "spine"}),
        make("text", {x: at[k], y: 16, "text-anchor": "middle", class: "axis"}, o),
        make("text", {x: at[k], y: bottom + 14, "text-anchor": "middle"}, short(+(ys[k].low / scale).toFixed(3))),
        make("text", {x: at[k] + 6, y: top + 4}, short(+(ys[k].high / scale).toFixed(3)))]),
      make("path", {d: faint, class: "others"}), ...drawn));
  }

  // ---- three objectives: the lattice itself, to be clicked
  function triangle() {
    if (!map) return;
    const [w, h] = [188, 172], corners = [[94, 22], [22, 148], [166, 148]];
    const place = (weights) => [0, 1].map((c) => sum(weights.map((n, k) => n * corners[k][c])) / H);
    map.replaceChildren(make("svg", {viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": `Preference ${told(state.at)}; a click chooses another`,
      onclick: (event) => {
        const area = event.currentTarget.getBoundingClientRect();
        const e = [(event.clientX - area.left) * w / area.width, (event.clientY - area.top) * h / area.height];
        const far = lattice.map((weights) => sum(place(weights).map((v, c) => (v - e[c]) ** 2)));
        go(far.indexOf(Math.min(...far)));
      }},
      make("path", {d: `M${corners.map((c) => c.join(",")).join("L")}z`, class: "edge"}),
      make("path", {d: lattice.map((weights) => SHAPES[0](...place(weights), 2.4)).join(""), class: "grid"}),
      make("circle", {cx: place(lattice[state.at])[0], cy: place(lattice[state.at])[1], r: 6, class: "here"}),
      ...objectives.map((o, k) => make("text", {x: corners[k][0], y: corners[k][1] + (k ? 18 : -9), "text-anchor": ["middle", "start", "end"][k],
        ...(k ? {dx: k === 1 ? -18 : 18} : {})}, o))));
  }

  function papers() {
    if (!samples.length) {
      documents.replaceChildren(make("p", {class: "caption"}, "Documents of a sample query are shown where the page is written beside its run folders."));
      return;
    }
    const query = samples[state.sample];
    const top = objectives.map((_, k) => Math.max(1e-9, ...query.labels.map((l) => l[k])));
    const column = (s) => {
      const title = make("h4", {}, swatch(s), names[s]);
      if (!query.best[s]) return make("div", {}, title, make("p", {class: "caption"}, "no scores were kept for this query"));
      const best = query.best[s][state.at], was = state.before === null ? null : query.best[s][state.before];
      const values = query.values[s] ? objectives.map((o, k) => `${o} ${fixed(query.values[s][state.at][k])}`).join(" · ") : "";
      return make("div", {}, title, make("p", {class: "caption"}, values), make("ol", {}, ...best.map((d, place) => {
        const from = was ? was.indexOf(d) : place;
        const move = from === place ? "" : from < 0 ? "new" : from > place ? `▲${from - place}` : `▼${place - from}`;
        return make("li", {class: move === "new" ? "new" : null}, make("span", {class: "doc"}, query.documents[d]), make("span", {class: "move"}, move),
          ...objectives.map((o, k) => make("span", {class: "label", style: `--v:${clamp(query.labels[d][k] / top[k], 0, 1)};--k:var(--o${k % 6})`,
            title: `${o} ${query.labels[d][k]}`}, short(query.labels[d][k]))));
      })));
    };
    documents.replaceChildren(
      make("p", {class: "caption legend"}, "Labels: ", ...objectives.map((o, k) => make("span", {class: "key", style: `--k:var(--o${k % 6})`}, o))),
      make("div", {class: "lists"}, column(state.focus), state.other === state.focus ? null : column(state.other)),
      make("p", {class: "caption"}, `Ten best of ${query.of} documents of query ${query.query}, runs of ${query.fold} with seed ${query.seed}. Marks say how documents moved since the last preference.`));
  }

  function sort() {
    heads.forEach((h, k) => k === state.sort ? h.setAttribute("aria-sort", state.down ? "descending" : "ascending") : h.removeAttribute("aria-sort"));
    const key = (s) => state.sort < m ? point(s, state.at)[state.sort] : asked(s, state.at);
    const order = names.map((_, s) => s).sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (state.down ? y - x : x - y) || a - b;
    });
    const held = document.activeElement;
    body.append(...order.map((s) => rows[s].row));
    if (body.contains(held)) held.focus();
  }
  function figures() {
    const best = [...objectives.map((_, k) => k), m].map((k) => Math.max(...names.map((_, s) => (k < m ? point(s, state.at)[k] : asked(s, state.at)) ?? -Infinity)));
    rows.forEach((r, s) => {
      r.row.className = s === state.focus ? "focus" : "";
      r.name.setAttribute("aria-pressed", s === state.focus);
      r.cells.forEach((cell, k) => {
        const value = k < m ? point(s, state.at)[k] : asked(s, state.at);
        cell.textContent = fixed(value);
        cell.className = value !== null && value === best[k] ? "best" : "";
      });
    });
  }

  function update() {
    sliders.forEach((s, k) => {
      s.input.value = lattice[state.at][k];
      s.output.textContent = share(lattice[state.at][k]);
      s.input.setAttribute("aria-valuetext", `${share(lattice[state.at][k])} ${objectives[k]}`);
    });
    const s = state.focus;
    sentence.replaceChildren(make("b", {}, names[s]), ` at ${told(state.at)}: `,
      ...objectives.flatMap((o, k) => [k ? ", " : "", `${o} `, make("b", {}, fixed(point(s, state.at)[k]))]), ` on ${state.split === "test" ? "test" : "validation"} queries.`);
    plots.forEach(light);
    lines();
    triangle();
    figures();
    sort();
    papers();
    listeners.forEach((f) => f());
  }
  function draw() { plots.forEach(project); update(); }
  update();
  return {state, onchange: (f) => listeners.push(f)};
}
