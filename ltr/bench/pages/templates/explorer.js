// The Pareto explorer: preferences on sliders that snap to the lattice, the chosen points lit on every projection, and
// what they mean for the measures and for the best documents of a sample query. A few systems have their colours, the
// others are grey until they are ticked or pointed at; the address of the page keeps what was chosen.
function explorer(root, data) {
  const {objectives, lattice, partition: H, systems, scale, samples} = data;
  const m = objectives.length, names = systems.map((s) => s.name);
  const number = new Map(lattice.map((w, i) => [w.join(), i]));
  const listeners = [];
  const middle = lattice.map((w) => sum(w.map((n) => (n - H / m) ** 2)));
  const state = {
    at: middle.indexOf(Math.min(...middle)), before: null, split: "test", focus: data.start[0], other: data.start[1],
    lit: systems.map((_, s) => data.start.includes(s)), hover: null, bound: objectives.map(() => null),
    show: {truth: true, rest: true, free: true}, sample: 0, sort: m, down: true,
  };
  const truth = data.truth, ring = data.marks;
  const measures = data.measures.map((name) => name.replace(/\(.*\)/, ""));
  const splitName = () => state.split === "test" ? "test" : "validation";
  const tint = (s) => state.lit[s] || s === state.hover ? colour(systems[s].look) : "var(--faint)";
  const figure = (s, x, y, r) => mark(systems[s].look, x, y, r);
  const fixed = (value) => value === null || value === undefined ? "–" : (value / scale).toFixed(4);
  const share = (n) => (n / H).toFixed(H === 10 || H === 5 || H === 2 ? 1 : 2);
  const told = (at) => objectives.map((o, k) => `${o} ${share(lattice[at][k])}`).join(", ");
  const point = (s, at) => systems[s].points[state.split][at];
  const whole = (s, at) => point(s, at).every((v) => v !== null);
  const allowed = (p) => p.every((v, k) => state.bound[k] === null || v !== null && v >= state.bound[k] * scale);
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
  const bounds = objectives.map((name, k) => make("input", {type: "number", class: "bound", step: 0.01, min: 0, max: 1, placeholder: "at least",
    "aria-label": `${name} at least`, title: `${name} at least`, oninput: (event) => {
      state.bound[k] = event.target.value === "" || isNaN(+event.target.value) ? null : +event.target.value;
      draw();
    }}));
  // Of two objectives one slider is enough: to its right there is more of the second.
  const sliders = (m === 2 ? [1] : objectives.map((_, k) => k)).map((k) => {
    const id = `${data.id}-w${k}`;
    const input = make("input", {type: "range", id, min: 0, max: H, step: 1,
      oninput: () => go(number.get(moved(lattice[state.at], k, +input.value).join()))});
    const output = make("output", {for: id});
    const row = m === 2
      ? make("div", {class: "slider two"}, make("span", {class: "end"}, objectives[0], bounds[0]), input, make("span", {class: "end"}, make("label", {for: id}, objectives[1]), bounds[1]), output)
      : make("div", {class: "slider"}, make("label", {for: id}, objectives[k]), input, output, bounds[k]);
    return {k, input, output, row};
  });
  const corner = (k) => number.get(objectives.map((_, j) => j === k ? H : 0).join());
  const presets = make("div", {class: "controls presets", role: "group", "aria-label": "Preferences to start from"},
    make("button", {type: "button", onclick: () => go(middle.indexOf(Math.min(...middle)))}, H % m ? "most even" : "balanced"),
    ...objectives.map((name, k) => make("button", {type: "button", onclick: () => go(corner(k))}, `only ${name}`)));
  const splits = chooser("Points of", ["test", "validation"], 0, (i) => { state.split = i ? "vali" : "test"; draw(); });
  const toggles = make("div", {class: "controls toggles", role: "group", "aria-label": "What is drawn"}, ...[
    ["truth", "true front (dashed)", truth.length], ["marks", "ideal, nadir, reference point", ring], ["area", "hypervolume", ring && m === 2],
    ["seeds", "spread over seeds", systems.some((s) => s.sd)], ["knee", "knee", true], ["rest", "other systems", true],
    ["free", "systems without preferences", systems.some((s) => s.free)],
  ].filter((each) => each[2]).map(([key, text]) => make("label", {}, make("input", {type: "checkbox", checked: !!state.show[key],
    onchange: (event) => { state.show[key] = event.target.checked; draw(); }}), text)));
  const reset = make("button", {type: "button", hidden: true, onclick: () => { plots.forEach((plot) => { plot.zoom = null; }); draw(); }}, "Whole picture");
  const within = make("p", {class: "words", "aria-live": "polite", hidden: true});
  const command = make("code");
  const copy = make("button", {type: "button", onclick: () => navigator.clipboard.writeText(command.textContent).then(() => { copy.textContent = "Copied"; })}, "Copy");
  const sentence = make("p", {class: "words", "aria-live": "polite"});
  const map = m === 3 ? make("div", {class: "simplex"}) : null;
  const panels = make("div", {class: `panels n${m}`});

  // ---- the table of systems is the legend too
  const heads = [...objectives, "weighted sum"].map((text, k) => make("th", {scope: "col", title: k < m ? data.measures[k] : "sum of preference times measure",
    "aria-sort": k === state.sort ? "descending" : null},
    make("button", {type: "button", onclick: () => { state.down = state.sort === k ? !state.down : true; state.sort = k; sort(); }}, text)));
  const rows = systems.map((system, s) => {
    const check = make("input", {type: "checkbox", checked: state.lit[s], "aria-label": `colour ${system.name}`,
      onchange: () => { state.lit[s] = check.checked; draw(); }});
    const name = make("button", {type: "button", class: "name", "aria-pressed": false, onclick: () => look(s)}, swatch(system.look), system.name,
      s === data.baseline ? make("span", {class: "tag"}, "baseline") : null, system.free ? make("span", {class: "tag"}, "no preference") : null);
    const cells = [...objectives, ""].map(() => make("td"));
    const light = (on) => () => { if (state.hover === on) return; state.hover = on; plots.forEach(project); lines(); };
    return {cells, name, check, row: make("tr", {onpointerenter: light(s), onpointerleave: light(null), onfocusin: light(s), onfocusout: light(null)},
      make("td", {class: "check"}, check), make("th", {scope: "row"}, name), ...cells)};
  });
  const body = make("tbody", {}, ...rows.map((r) => r.row));
  const all = make("input", {type: "checkbox", checked: state.lit.every(Boolean), "aria-label": "colour all systems", onchange: () => { state.lit.fill(all.checked); draw();
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
    make("div", {class: "controls"}, presets, splits), toggles, sentence, within,
    make("p", {class: "command"}, command, copy), make("p", {class: "caption print"}, reset,
      " Drag on a picture to enlarge a part of it. With the keyboard: left and right go along the front of a system, up and down from system to system."),
    make("div", {class: `stage n${m}`, style: `--m:${m}`}, panels, make("div", {class: "below"}, make("div", {}, table),
      make("div", {}, make("div", {class: "controls"}, which, rival), documents))));

  function go(at) {
    if (at === undefined || at === state.at) { sliders.forEach((s) => { s.input.value = lattice[state.at][s.k]; }); return; }
    state.before = state.at;
    state.at = at;
    update();
  }
  function look(s) {
    if (state.other === s) state.other = state.focus;
    state.focus = s;
    rival.select.value = state.other;
    state.lit[s] = true;
    draw();
  }

  // ---- projections
  const pairs = [];
  for (let i = 0; i < m; i++) for (let j = i + 1; j < m; j++) pairs.push([i, j]);
  const plots = pairs.map(([i, j]) => ({i, j, root: make("figure", {class: "panel"}), width: 0}));
  plots.forEach((plot) => { panels.append(plot.root); sized(plot.root, (width) => { plot.width = width; project(plot); }); });
  const parallel = m > 2 ? {root: make("figure", {class: "panel wide"}), width: 0} : null;
  if (parallel) { panels.append(parallel.root); sized(parallel.root, (width) => { parallel.width = width; lines(); }); }
  // Grey ones lie behind, then those in colour, what is looked at on top.
  const order = () => {
    const weight = (s) => s === state.focus ? 4 : s === state.hover ? 3 : s === state.other ? 2 : state.lit[s] ? 1 : 0;
    const drawn = names.map((_, s) => s).filter((s) => weight(s) || state.show.rest && (!systems[s].free || state.show.free));
    return drawn.sort((a, b) => weight(a) - weight(b) || a - b);
  };
  const visible = () => order().filter((s) => state.lit[s] || s === state.focus || s === state.hover);

  function project(plot) {
    if (!plot.width) return;
    const {i, j, width} = plot, height = Math.round(clamp(width * (m === 2 ? 0.75 : 0.85), 220, 500));
    const box = {left: 52, right: width - 14, top: 10, bottom: height - 40};
    const seen = order(), real = state.show.truth && truth.length ? truth : [], marked = state.show.marks && ring ? Object.values(ring) : [];
    const values = (k) => [...seen.flatMap((s) => lattice.map((_, at) => point(s, at)[k])), ...real.map((p) => p[k]), ...marked.map((p) => p[k])]
      .filter((v) => v !== null).map((v) => v / scale);
    const x = plot.x = scaleOf(...(plot.zoom ? plot.zoom.x : extent(values(i))), box.left, box.right);
    const y = plot.y = scaleOf(...(plot.zoom ? plot.zoom.y : extent(values(j))), box.bottom, box.top);
    const place = (p) => [x(p[i] / scale), y(p[j] / scale)];
    const inner = `${data.id}-clip-${i}-${j}`, dots = make("g", {"clip-path": `url(#${inner})`});
    if (real.length) {
      if (m === 2) dots.append(make("path", {d: staircase(real.map(place), box), class: "stairs truth"}));
      dots.append(make("path", {d: real.map((p) => SHAPES[0](...place(p).map((v) => +v.toFixed(1)), 2)).join(""), class: "truth"}));
    }
    for (const s of seen) {
      const ours = lattice.map((_, at) => at).filter((at) => whole(s, at));
      const main = s === state.focus || s === state.other || s === state.hover, grey = !state.lit[s] && !main;
      const path = (wanted) => ours.filter(wanted).map((at) => figure(s, ...place(point(s, at)), grey ? 2 : m === 2 ? 4 : 3)).join("");
      if (s === state.focus && state.show.area && ring && m === 2) {
        const [left, bottom] = place(ring.reference), better = ours.filter((at) => systems[s].front[at] && point(s, at).every((v, k) => v > ring.reference[k]));
        dots.append(make("path", {d: `${staircase(better.map((at) => place(point(s, at))), {left, bottom})}V${bottom}z`, fill: tint(s), class: "area"}));
      }
      if (m === 2 || main) dots.append(make("path", {d: staircase(ours.map((at) => place(point(s, at))), box), stroke: tint(s), class: `stairs${main ? " focus" : grey ? " grey" : ""}`}));
      if (s === state.focus && state.show.seeds && systems[s].sd && state.split === "test") {
        dots.append(make("path", {d: ours.map((at) => whisker(plot, point(s, at), systems[s].sd[at])).join(""), class: "whisker thin"}));
      }
      const kind = grey ? " grey" : main ? " main" : "";
      dots.append(make("path", {d: path((at) => !systems[s].front[at] && allowed(point(s, at))), stroke: tint(s), class: `open${kind}`}),
        make("path", {d: path((at) => systems[s].front[at] && allowed(point(s, at))), fill: tint(s), class: `full${kind}`}),
        make("path", {d: path((at) => !allowed(point(s, at))), fill: tint(s), class: "barred"}));
    }
    const corner = (name, p) => p ? [make("path", {d: SHAPES[7](...place(p).map((v) => +v.toFixed(1)), 5), class: "spot"}),
      make("text", {x: place(p)[0] + 9, y: place(p)[1] + 4}, name)] : [];
    if (state.show.marks && ring) for (const [name, p] of Object.entries(ring)) dots.append(...corner(name, p));
    const bend = state.show.knee ? knee(state.focus) : null;
    if (bend !== null) dots.append(...corner("knee", point(state.focus, bend)));
    for (const [k, at] of [[i, x], [j, y]]) if (state.bound[k] !== null) {
      const v = at(state.bound[k]);
      dots.append(make("path", {d: k === i ? `M${v},${box.top}V${box.bottom}` : `M${box.left},${v}H${box.right}`, class: "limit"}));
    }
    plot.lit = make("g", {class: "lit", "clip-path": `url(#${inner})`});
    plot.box = box;
    const room = (k, length) => [`${objectives[k]}, ${measures[k]}, ${splitName()} →`, `${objectives[k]}, ${measures[k]} →`, `${objectives[k]} →`].find((t) => t.length * 7 < length) || objectives[k];
    const label = `${objectives[j]} against ${objectives[i]}, ${splitName()} points of ${seen.length} systems; arrow keys go along the front, up and down from system to system`;
    plot.root.replaceChildren(make("svg", {width, height, role: "application", tabindex: 0, "aria-label": label, onkeydown: (event) => key(plot, event),
      onpointerdown: (event) => grab(plot, event), onpointermove: (event) => hover(plot, event), onpointerleave: hush, onclick: (event) => choose(plot, event)},
      make("clipPath", {id: inner}, make("rect", {x: box.left - 1, y: box.top - 1, width: Math.max(1, box.right - box.left + 14), height: box.bottom - box.top + 2})),
      axes(x, y, box, width < 340 ? 3 : 5, 5),
      make("text", {x: (box.left + box.right) / 2, y: height - 6, "text-anchor": "middle", class: "axis"}, room(i, box.right - box.left)),
      make("text", {x: 12, y: (box.top + box.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(box.top + box.bottom) / 2})`, class: "axis"}, room(j, box.bottom - box.top)),
      dots, plot.lit));
    light(plot);
  }
  function whisker(plot, p, sd) {
    if (!sd || sd[plot.i] === null || sd[plot.j] === null) return "";
    const [px, py] = [plot.x(p[plot.i] / scale), plot.y(p[plot.j] / scale)];
    const [dx, dy] = [Math.abs(plot.x(sd[plot.i] / scale) - plot.x(0)), Math.abs(plot.y(sd[plot.j] / scale) - plot.y(0))];
    return `M${px - dx},${py}h${2 * dx}M${px},${py - dy}v${2 * dy}`;
  }
  // Of the points that validation finds undominated the one farthest beyond the plane through the ends of the front.
  function knee(s) {
    const vali = systems[s].points.vali, ours = lattice.map((_, at) => at).filter((at) => systems[s].front[at] && vali[at].every((v) => v !== null));
    const ends = objectives.map((_, k) => [Math.min(...ours.map((at) => vali[at][k])), Math.max(...ours.map((at) => vali[at][k]))]);
    const far = ours.map((at) => sum(ends.map(([low, high], k) => (vali[at][k] - low) / (high - low || 1))));
    return ours.length > m ? ours[far.indexOf(Math.max(...far))] : null;
  }
  // Through the points that no other of the same system beats in both directions, as pixels (y grows downwards).
  function staircase(points, box) {
    const sorted = points.slice().sort((p, q) => q[0] - p[0] || p[1] - q[1]);
    const kept = [];
    for (const p of sorted) if (!kept.length || p[1] < kept[kept.length - 1][1]) kept.push(p);
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
      if (s === state.focus) {
        if (state.split === "test" && systems[s].sd) marks.push(make("path", {d: whisker(plot, p, systems[s].sd[state.at]), class: "whisker"}));
        marks.push(make("circle", {cx: px, cy: py, r: 12, class: "ring"}));
      }
      marks.push(make("path", {d: figure(s, px, py, s === state.focus ? 7 : 6), fill: tint(s), class: "chosen", "data-system": s,
        "data-x": px.toFixed(2), "data-y": py.toFixed(2)}));
    }
    plot.lit.replaceChildren(...marks);
  }
  function nearest(plot, event) {
    const area = event.currentTarget.getBoundingClientRect();
    const [ex, ey] = [event.clientX - area.left, event.clientY - area.top];
    let best = null, least = 26 ** 2;
    for (const s of order()) lattice.forEach((_, at) => {
      if (!whole(s, at)) return;
      const p = point(s, at), far = (plot.x(p[plot.i] / scale) - ex) ** 2 + (plot.y(p[plot.j] / scale) - ey) ** 2;
      if (far <= least) { least = far; best = {s, at}; }
    });
    return best;
  }
  // Along the front of what is looked at, in the order of the horizontal axis; up and down among the systems in colour.
  function key(plot, event) {
    const step = {ArrowRight: 1, ArrowLeft: -1, ArrowUp: -1, ArrowDown: 1}[event.key];
    if (!step) return;
    event.preventDefault();
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const coloured = names.map((_, s) => s).filter((s) => state.lit[s]);
      look(coloured[(coloured.indexOf(state.focus) + step + coloured.length) % coloured.length]);
    } else {
      const along = lattice.map((_, at) => at).filter((at) => whole(state.focus, at))
        .sort((a, b) => point(state.focus, a)[plot.i] - point(state.focus, b)[plot.i] || a - b);
      go(along[clamp(along.indexOf(state.at) + step, 0, along.length - 1)]);
    }
    plot.root.firstChild.focus();
  }
  // A part is enlarged: dragged over with the mouse.
  function grab(plot, event) {
    if (event.pointerType === "touch" || event.button) return;
    const svg = event.currentTarget, {left, top} = svg.getBoundingClientRect(), from = [event.clientX - left, event.clientY - top];
    const frame = make("rect", {class: "frame"});
    let to = from;
    const move = (e) => {
      to = [clamp(e.clientX - left, plot.box.left, plot.box.right), clamp(e.clientY - top, plot.box.top, plot.box.bottom)];
      for (const [name, v] of Object.entries({x: Math.min(from[0], to[0]), y: Math.min(from[1], to[1]), width: Math.abs(to[0] - from[0]), height: Math.abs(to[1] - from[1])})) frame.setAttribute(name, v);
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      frame.remove();
      if (Math.min(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])) < 8) return;
      const span = (scale_, a, b) => [scale_.back(Math.min(a, b)), scale_.back(Math.max(a, b))].sort((p, q) => p - q);
      plot.zoom = {x: span(plot.x, from[0], to[0]), y: span(plot.y, from[1], to[1])};
      plot.dragged = true;
      draw();
    };
    svg.append(frame);
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
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
    if (plot.dragged) { plot.dragged = false; return; }
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
    const faint = lattice.map((_, i) => i).filter((i) => whole(state.focus, i) && allowed(point(state.focus, i))).map((i) => path(point(state.focus, i))).join("");
    const drawn = seen.filter((s) => whole(s, state.at)).map((s) => make("g", {},
      make("path", {d: path(point(s, state.at)), stroke: tint(s), class: s === state.focus ? "line focus" : s === state.other ? "line other" : "line"}),
      make("path", {d: point(s, state.at).map((v, k) => figure(s, at[k], ys[k](v), 4)).join(""), fill: tint(s)})));
    parallel.root.replaceChildren(make("svg", {width, height, role: "img", "aria-label": `All objectives at ${told(state.at)}, a line a system; thin: other preferences of ${names[state.focus]} within the bounds`,
      onclick: (event) => { // a click on an axis is a bound there, a click on that bound takes it away
        const area = event.currentTarget.getBoundingClientRect(), [ex, ey] = [event.clientX - area.left, event.clientY - area.top];
        const k = at.findIndex((v) => Math.abs(v - ex) < 20);
        if (k < 0) return;
        const near = state.bound[k] !== null && Math.abs(ys[k](state.bound[k] * scale) - ey) < 8;
        state.bound[k] = near ? null : +(ys[k].back(clamp(ey, top, bottom)) / scale).toFixed(3);
        bounds[k].value = near ? "" : state.bound[k];
        draw();
      }},
      ...objectives.flatMap((o, k) => [
        make("line", {x1: at[k], x2: at[k], y1: top, y2: bottom, class: "spine"}),
        make("text", {x: at[k], y: 16, "text-anchor": "middle", class: "axis"}, o),
        make("text", {x: at[k], y: bottom + 14, "text-anchor": "middle"}, short(+(ys[k].low / scale).toFixed(3))),
        make("text", {x: at[k] + 6, y: top + 4}, short(+(ys[k].high / scale).toFixed(3))),
        state.bound[k] === null ? null : make("path", {d: `M${at[k] - 9},${ys[k](state.bound[k] * scale)}h18`, class: "limit"})]),
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
      const title = make("h4", {}, swatch(systems[s].look), names[s]);
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
    sliders.forEach(({k, input, output}) => {
      input.value = lattice[state.at][k];
      output.textContent = m === 2 ? lattice[state.at].map(share).join(" : ") : share(lattice[state.at][k]);
      input.setAttribute("aria-valuetext", m === 2 ? told(state.at) : `${share(lattice[state.at][k])} ${objectives[k]}`);
    });
    rows.forEach((r, i) => { r.check.checked = state.lit[i]; });
    all.checked = state.lit.every(Boolean);
    reset.hidden = !plots.some((plot) => plot.zoom);
    const s = state.focus;
    sentence.replaceChildren(make("b", {}, names[s]), ` at ${told(state.at)}: `,
      ...objectives.flatMap((o, k) => [k ? ", " : "", `${o} `, make("b", {}, fixed(point(s, state.at)[k]))]), ` on ${splitName()} queries.`);
    limits();
    plots.forEach(light);
    lines();
    triangle();
    figures();
    sort();
    papers();
    listeners.forEach((f) => f());
  }
  function draw() { plots.forEach(project); update(); }

  // ---- bounds are judged on validation, as `ltr choose` does; the command says the same to a run
  function limits() {
    const s = state.focus, bounded = objectives.map((_, k) => k).filter((k) => state.bound[k] !== null);
    const free = objectives.map((_, k) => k).find((k) => state.bound[k] === null) ?? 0, vali = systems[s].points.vali;
    const fit = lattice.map((_, at) => at).filter((at) => vali[at].every((v) => v !== null) && allowed(vali[at]));
    const best = fit.reduce((a, b) => a === null || vali[b][free] > vali[a][free] ? b : a, null);
    within.hidden = !bounded.length;
    within.replaceChildren(`${fit.length} of ${lattice.length} preferences of ${names[s]} keep ${bounded.map((k) => `${objectives[k]} at ${state.bound[k]} or more`).join(", ")} on validation. `,
      best === null ? "" : make("button", {type: "button", onclick: () => go(best)}, `Take the one with the most ${objectives[free]}`));
    const quote = (word) => /^[\w.,=/-]+$/.test(word) ? word : `'${word}'`;
    command.textContent = bounded.length
      ? `ltr choose ${systems[s].run} --at-least ${bounded.map((k) => quote(`${objectives[k]}=${state.bound[k]}`)).join(" ")} --maximise ${quote(objectives[free])}`
      : `ltr predict ${systems[s].run} new_lists.txt --preference ${lattice[state.at].map((n) => short(n / H)).join(" ")} --out scores.csv`;
    copy.textContent = "Copy";
    remember();
  }

  // ---- the choice lives in the address
  function remember() {
    if (!ready) return;
    const told = new URLSearchParams({w: lattice[state.at].join(), system: names[state.focus], with: names[state.other], split: state.split,
      least: state.bound.map((v) => v ?? "").join()});
    names.forEach((name, s) => { if (state.lit[s]) told.append("colour", name); });
    try { history.replaceState(null, "", `#${data.id}-explorer?${told}`); } catch { /* a page in a frame keeps its address */ }
  }
  function recall() {
    const [place, text] = location.hash.slice(1).split("?");
    if (decodeURIComponent(place) !== `${data.id}-explorer` || !text) return;
    const told = new URLSearchParams(text), index = (key, now) => { const s = names.indexOf(told.get(key)); return s < 0 ? now : s; };
    state.at = number.get(told.get("w")) ?? state.at;
    state.focus = index("system", state.focus);
    state.other = index("with", state.other);
    state.split = told.get("split") === "vali" ? "vali" : "test";
    state.lit = names.map((name, s) => told.getAll("colour").includes(name) || s === state.focus);
    (told.get("least") || "").split(",").slice(0, m).forEach((v, k) => { if (v !== "" && isFinite(v)) { state.bound[k] = +v; bounds[k].value = v; } });
    rival.select.value = state.other;
    splits.select.value = state.split === "vali" ? 1 : 0;
    document.getElementById(place)?.scrollIntoView();
  }
  let ready = false;
  recall();
  update();
  ready = true;
  return {state, onchange: (f) => listeners.push(f)};
}
