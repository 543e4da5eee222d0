// What both tools share: elements, scales, marks. Systems are told apart by colour and by shape.
const SPACE = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
const DRAWN = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "polyline", "title", "clipPath"]);

// make("td", {class: "left"}, "text", child, ...): an HTML or SVG element; on* attributes are listeners.
function make(tag, attributes = {}, ...children) {
  const element = DRAWN.has(tag) ? document.createElementNS(SPACE, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-") && value !== null) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

const sum = (values) => values.reduce((a, b) => a + b, 0);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const colour = (system) => `var(--c${system % 8})`;
const polygon = (...corners) => (x, y, r) => `M${corners.map(([a, b]) => `${+(x + a * r).toFixed(2)},${+(y + b * r).toFixed(2)}`).join("L")}z`;
const around = (count, radius) => Array.from({length: count}, (_, i) => [0, 1].map((c) => radius(i) * (c ? -Math.cos(2 * Math.PI * i / count) : Math.sin(2 * Math.PI * i / count))));
const PLUS = [[-.45, -1.2], [.45, -1.2], [.45, -.45], [1.2, -.45], [1.2, .45], [.45, .45], [.45, 1.2], [-.45, 1.2], [-.45, .45], [-1.2, .45], [-1.2, -.45], [-.45, -.45]];
// In the order of the markers of the pictures (`ltr.style`): circle, square, diamond, up, down, plus, star, cross.
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  polygon([-.9, -.9], [.9, -.9], [.9, .9], [-.9, .9]),
  polygon([0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]),
  polygon([0, -1.2], [1.15, .8], [-1.15, .8]),
  polygon([0, 1.2], [1.15, -.8], [-1.15, -.8]),
  polygon(...PLUS),
  polygon(...around(10, (i) => i % 2 ? .6 : 1.45)),
  polygon(...PLUS.map(([a, b]) => [(a - b) * .72, (a + b) * .72])),
];
// Past eight systems a colour comes back with another shape.
const shapeOf = (system) => (system + Math.floor(system / 8)) % 8;
const mark = (system, x, y, r) => SHAPES[shapeOf(system)](+x.toFixed(1), +y.toFixed(1), r);
const swatch = (system) => make("svg", {viewBox: "-8 -8 16 16", class: "swatch", "aria-hidden": "true"},
  make("path", {d: mark(system, 0, 0, 5), fill: colour(system)}));

// About `count` round numbers between low and high.
function ticks(low, high, count = 5, least = 0) {
  const rough = Math.max((high - low) / count || 1, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((s) => s * power >= rough * 0.999 && (!least || Number.isInteger(s * power)));
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9 * step; t += step) found.push(+(Math.round(t / step) * step).toPrecision(10));
  return found;
}
const scaleOf = (low, high, from, to) => {
  const slope = (to - from) / (high - low || 1);
  const at = (value) => from + (value - low) * slope;
  return Object.assign(at, {low, high, back: (pixel) => low + (pixel - from) / slope});
};
function extent(values, margin = 0.06) {
  const known = values.filter((v) => v !== null && isFinite(v));
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}
const short = (value) => String(+value.toPrecision(6));

// Horizontal and vertical axes of a plot whose inside spans the ranges of x and y.
function axes(x, y, box, nx, ny, least = 0) {
  const group = make("g", {class: "axes"});
  for (const t of ticks(x.low, x.high, nx)) {
    group.append(make("line", {x1: x(t), x2: x(t), y1: box.top, y2: box.bottom}),
      make("text", {x: x(t), y: box.bottom + 15, "text-anchor": "middle"}, short(t)));
  }
  for (const t of ticks(y.low, y.high, ny, least)) {
    group.append(make("line", {x1: box.left, x2: box.right, y1: y(t), y2: y(t)}),
      make("text", {x: box.left - 6, y: y(t) + 4, "text-anchor": "end"}, short(t)));
  }
  return group;
}

// Calls back with the width of an element, now and whenever it changes: pictures are drawn at their true size.
function sized(element, draw) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width && width !== last) { last = width; draw(width); }
  }).observe(element);
}

const tip = make("div", {class: "tip", role: "status", hidden: true});
document.body.append(tip);
function say(event, ...lines) {
  tip.replaceChildren(...lines.map((line, i) => make(i ? "div" : "strong", {}, line)));
  tip.hidden = false;
  const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = `${clamp(event.clientX + 14, 4, Math.max(4, innerWidth - wide - 8))}px`;
  tip.style.top = `${event.clientY + 18 + high > innerHeight ? Math.max(4, event.clientY - high - 12) : event.clientY + 18}px`;
}
const hush = () => { tip.hidden = true; };

let made = 0;
function chooser(label, names, value, change) {
  const id = `c${made++}`;
  const select = make("select", {id, onchange: () => change(+select.value)},
    ...names.map((name, i) => make("option", {value: i, selected: i === value}, name)));
  return Object.assign(make("span", {class: "field"}, make("label", {for: id}, label), select), {select});
}
