// Drawing: elements, tables, and the three shapes every figure is made of (rows of intervals, points over a dose, steps over time).
const SVG = "http://www.w3.org/2000/svg";
function fill(node, attributes, children) {  // text always goes in as text: a name is data
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== null) node.setAttribute(key, value);
  node.append(...children.filter(c => c !== null && c !== undefined));
  return node;
}
const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const label = (x, y, text, look = "", anchor = "start") => draw("text", { x, y, class: look, "text-anchor": anchor }, text);
const line = (x1, y1, x2, y2, look) => draw("line", { x1, y1, x2, y2, class: look });
const pen = document.createElement("canvas").getContext("2d");
function textWidth(text, size = 13) { pen.font = `${size}px system-ui, sans-serif`; return pen.measureText(text).width; }
function cut(text, room, size = 13) {
  if (textWidth(text, size) <= room) return text;
  let end = text.length;
  while (end > 1 && textWidth(`${text.slice(0, end)}…`, size) > room) end--;
  return `${text.slice(0, end).trimEnd()}…`;
}

function picture(width, height, name) { return draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": name }); }
function empty(place, text) { place.replaceChildren(make("p", { class: "empty" }, text)); }

function table(columns, rows, caption) {  // columns: [{ head, cell(row), text?, key? }]; the first is the row's name
  const body = rows.map(row => make("tr", {}, ...columns.map((c, n) => {
    const made = c.cell(row), kind = [c.text ? "text" : "", c.long ? "long" : "", c.tight ? "tight" : ""].join(" ").trim() || undefined;
    return make(n ? "td" : "th", n ? { class: kind } : { scope: "row", class: "text" }, ...(Array.isArray(made) ? made : [made ?? ""]));
  })));
  const head = make("tr", {}, ...columns.map((c, n) => make("th", { scope: "col", class: n === 0 || c.text ? "text" : undefined }, c.head)));
  const made = make("table", {}, make("caption", { class: "sr" }, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
}

function ticks(low, high, most) {  // round numbers that divide [low, high]
  const raw = (high - low) / Math.max(1, most), size = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 2.5, 5, 10].map(m => m * size).find(s => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + step * 1e-9; t += step) found.push(Math.abs(t) < step / 1e6 ? 0 : t);
  return found;
}

// Rows of estimate and interval. rows: { heading, aside } or { name, at, low, high, texts, under, few, look, shape, indent }; `axis.columns` heads the texts.
function intervals(width, rows, axis) {
  const stacked = width < 470, columns = stacked ? axis.columns.slice(0, axis.keep) : axis.columns;
  const rooms = columns.map((head, n) => Math.max(textWidth(head, 12), ...rows.map(r => r.texts ? textWidth(r.texts[n] || "") : 0)) + 18), room = rooms.reduce((p, q) => p + q, 0);
  const nameRoom = stacked ? 0 : Math.min(width * .34, Math.max(60, ...rows.map(r => textWidth(r.name || "") + (r.indent ? 14 : 0))) + 24);
  const left = stacked ? 16 : nameRoom, right = stacked ? width - 18 : width - room - 16, top = 26 + (axis.ends ? 18 : 0);
  const x = v => left + (Math.min(axis.high, Math.max(axis.low, v)) - axis.low) / (axis.high - axis.low) * (right - left);
  const ends = columns.map((_, n) => width - rooms.slice(n + 1).reduce((p, q) => p + q, 0));
  const heights = rows.map(r => r.heading ? 36 : stacked ? (r.under ? 60 : 44) : 26), bottom = top + heights.reduce((p, q) => p + q, 0);
  const svg = picture(width, bottom + 46, axis.name);
  for (const t of ticks(axis.low, axis.high, Math.max(3, (right - left) / 52))) {
    svg.append(line(x(t), top, x(t), bottom + 4, "grid"), label(x(t), bottom + 20, axis.tick(t), "soft small", "middle"));
  }
  columns.forEach((head, n) => svg.append(label(ends[n], 12, head, "soft small", "end")));
  if (axis.reference !== undefined) svg.append(line(x(axis.reference), top - 4, x(axis.reference), bottom + 4, "base"));
  if (axis.ends) svg.append(label(x(axis.reference) - 8, 32, axis.ends[0], "soft small", "end"), label(x(axis.reference) + 8, 32, axis.ends[1], "soft small"));
  svg.append(label((left + right) / 2, bottom + 40, axis.title, "soft small", "middle"));
  let y = top;
  rows.forEach((row, n) => {
    const middle = y + (stacked ? (row.under ? 46 : 31) : 13), base = stacked ? y + 16 : middle + 4.5, indent = row.indent && !stacked ? 14 : 0;
    if (row.heading) svg.append(label(0, y + 24, row.heading, "strong"), row.aside ? label(width, y + 24, row.aside, "soft small", "end") : "");
    else {
      svg.append(label(indent, base, cut(row.name, (stacked ? width - room : nameRoom) - 10 - indent)));
      columns.forEach((_, c) => svg.append(label(ends[c], base, row.texts[c] || "", row.at === null ? "soft" : "", "end")));
      if (stacked && row.under) svg.append(label(width, base + 15, row.under, "soft small", "end"));
      if (row.at !== null && row.at !== undefined) svg.append(mark(x, middle, row, axis));
    }
    y += heights[n];
  });
  return svg;
}

function mark(x, y, row, axis) {
  const group = draw("g", { class: `${row.look || "a"}${row.few ? " hollow" : ""}` });
  if (row.low !== null && row.low !== undefined) {
    group.append(line(x(row.low), y, x(row.high), y, "ci"));
    if (row.low >= axis.low) group.append(line(x(row.low), y - 4, x(row.low), y + 4, "ci")); else group.append(draw("path", { d: `M${x(row.low) + 5},${y - 4}l-5,4l5,4`, class: "ci" }));
    if (row.high <= axis.high) group.append(line(x(row.high), y - 4, x(row.high), y + 4, "ci")); else group.append(draw("path", { d: `M${x(row.high) - 5},${y - 4}l5,4l-5,4`, class: "ci" }));
  }
  if (row.at < axis.low || row.at > axis.high) return group;  // the arrow says that it goes on
  group.append(row.shape === "square" ? draw("rect", { x: x(row.at) - 4.5, y: y - 4.5, width: 9, height: 9, class: "mark" }) : draw("circle", { cx: x(row.at), cy: y, r: 5 }));
  return group;
}

// Points over a dose. bands: { name, at, from, to, rate, low, high, few, joined }, by dose.
function dosePlot(width, bands, axis) {
  const height = 300, left = 46, right = width - 16, top = 26, bottom = height - 46, most = 1.25 * Math.max(...bands.map(b => b.at)) || 1, taken = [];
  const x = v => left + 16 + Math.min(v, most) / most * (right - left - 16), y = v => bottom - Math.min(v, axis.high) / axis.high * (bottom - top), svg = picture(width, height, axis.name);
  for (const t of ticks(0, axis.high, 5)) svg.append(line(left, y(t), right, y(t), "grid"), label(left - 8, y(t) + 4, percent(t), "soft small", "end"));
  for (const t of most === 1 ? [0] : ticks(0, most, Math.max(3, width / 62))) svg.append(line(x(t), bottom, x(t), bottom + 5, "base"), label(x(t), bottom + 20, number(t), "soft small", "middle"));
  svg.append(line(left, bottom, right, bottom, "base"), label((left + right) / 2, height - 4, axis.title, "soft small", "middle"), label(0, 12, axis.side, "soft small"));
  const joined = bands.filter(b => b.joined);
  svg.append(draw("g", { class: "a" }, draw("path", { class: "curve", d: joined.map((b, n) => `${n ? "L" : "M"}${x(b.at)},${y(b.rate)}`).join("") })));
  for (const b of bands) {
    const group = draw("g", { class: `${b.joined ? "a" : "b"}${b.few ? " hollow" : ""}` });
    if (b.to > b.from) group.append(line(x(b.from), y(b.rate), x(b.to), y(b.rate), "span"));
    group.append(line(x(b.at), y(b.low), x(b.at), y(b.high), "ci"), line(x(b.at) - 4, y(b.low), x(b.at) + 4, y(b.low), "ci"), b.high <= axis.high ? line(x(b.at) - 4, y(b.high), x(b.at) + 4, y(b.high), "ci") : "", draw("circle", { cx: x(b.at), cy: y(b.rate), r: 5 }));
    svg.append(group);
    taken.push([x(b.at) - 6, y(b.high) - 3, x(b.at) + 6, y(b.low) + 3]);
  }
  for (const b of bands) {
    const half = textWidth(b.name, 12) / 2 + 2, over = y(b.high) - 8, under = y(b.low) + 17, places = [[0, over], [0, under], [half + 8, over + 14], [-half - 8, over + 14], [half + 8, under - 12], [-half - 8, under - 12], [half + 8, y(b.rate) - 12]];
    const box = ([dx, at]) => { const cx = Math.min(right - half, Math.max(left + half, x(b.at) + dx)); return [cx - half, at - 11, cx + half, at + 3]; };
    const free = place => { const [l, t, r, u] = box(place); return t > 14 && u < bottom && !taken.some(o => l < o[2] && r > o[0] && t < o[3] && u > o[1]); };
    const found = box(places.find(free) || places[0]);
    taken.push(found);
    svg.append(label((found[0] + found[2]) / 2, found[3] - 3, b.name, "small", "middle"));
  }
  return svg;
}

// Steps over time. curves: { name, steps: [{ day, survival, low, high, at_risk }], look, dash }.
function stepPlot(width, curves, axis) {
  const room = Math.min(110, Math.max(...curves.map(c => textWidth(c.name))) + 14), left = 46, right = width - room, top = 24, bottom = 330, rowHeight = 20;
  const last = Math.max(28, ...curves.map(c => c.steps.at(-1).day)), x = d => left + d / last * (right - left), y = s => bottom - s * (bottom - top);
  const months = [30.4375, 60.875, 91.3125, 182.625, 365.25, 730.5].find(m => last / m <= Math.max(3, (right - left) / 56)) || 730.5, svg = picture(width, bottom + 80 + rowHeight * curves.length, axis.name);
  for (const s of [0, .25, .5, .75, 1]) svg.append(line(left, y(s), right, y(s), "grid"), label(left - 8, y(s) + 4, percent(s), "soft small", "end"));
  svg.append(label(0, 10, axis.side, "soft small"), line(left, bottom, right, bottom, "base"), label((left + right) / 2, bottom + 38, axis.title, "soft small", "middle"));
  svg.append(label(0, bottom + 60, "At risk", "soft small"));
  for (let t = 0; t <= last + 1; t += months) svg.append(line(x(t), bottom, x(t), bottom + 5, "base"), label(x(t), bottom + 20, whole(t / 30.4375), "soft small", "middle"));
  if (axis.landmark && axis.landmark < last) svg.append(line(x(axis.landmark), top, x(axis.landmark), bottom, "rule"), label(x(axis.landmark) - 6, top + 14, "landmark", "soft small", "end"));
  for (const c of curves) if (c.shaded) {
    const sure = c.steps.filter(s => s.low !== null), there = sure.map((s, n) => `${n ? `H${x(s.day)}V` : `M${x(s.day)},`}${y(s.high)}`).join(""), back = [...sure].reverse().map((s, n) => n ? `V${y(s.low)}H${x(s.day)}` : `L${x(s.day)},${y(s.low)}`).join("");
    if (sure.length > 1) svg.append(draw("path", { d: `${there}${back}Z`, class: `band bandfill ${c.look}` }));
  }
  const ends = curves.map(c => y(c.steps.at(-1).survival)).map((at, n) => ({ at, n })).sort((p, q) => p.at - q.at);
  ends.forEach((e, n) => { if (n) e.at = Math.max(e.at, ends[n - 1].at + 16); });
  const over = ends.length ? Math.max(0, ends.at(-1).at - bottom) : 0;
  const endAt = Object.fromEntries(ends.map(e => [e.n, e.at - over]));
  curves.forEach((c, n) => {
    const d = c.steps.map((s, m) => m ? `H${x(s.day)}V${y(s.survival)}` : `M${x(s.day)},${y(s.survival)}`).join("");
    svg.append(draw("g", { class: c.look }, draw("path", { d, class: "curve", "stroke-dasharray": c.dash })));
    svg.append(label(right + 8, endAt[n] + 4, c.name, `${c.look} strong`));
    const base = bottom + 60 + rowHeight * (n + 1);
    svg.append(label(right + 8, base, c.name, `${c.look} small`));
    for (let t = 0; t <= last + 1; t += months) { const step = c.steps.findLast(s => s.day <= t); svg.append(label(x(t), base, step && t <= c.steps.at(-1).day + 7 ? whole(step.at_risk) : "–", "small", "middle")); }
  });
  return svg;
}
