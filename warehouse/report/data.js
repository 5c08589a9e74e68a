// The answers of the SQL files, column by column, and the words for what they hold.
const DATA = JSON.parse(document.getElementById("data").textContent);
const ALL = "all";

class Frame {  // a column comes plain, by index, or by runs (warehouse/report.py, encode)
  constructor(raw) {
    this.n = raw.n; this.error = raw.error; this.columns = {};
    for (const [name, c] of Object.entries(raw.columns)) this.columns[name] = c.v ? { v: c.v } : { d: c.d, i: c.i || Frame.spread(c.r, raw.n) };
  }
  static spread(runs, n) {
    const at = new Uint32Array(n);
    for (let r = 0, from = 0; r < runs.length; r += 2) { at.fill(runs[r], from, from + runs[r + 1]); from += runs[r + 1]; }
    return at;
  }
  value(name, row) { const c = this.columns[name]; return c.v ? c.v[row] : c.d[c.i[row]]; }
  row(at) { return Object.fromEntries(Object.keys(this.columns).map(name => [name, this.value(name, at)])); }
  where(wanted) {  // rows that equal `wanted` in every column it names
    if (!this.n) return [];
    let rows = null;
    for (const [name, value] of Object.entries(wanted)) {
      const c = this.columns[name], code = c.v ? value : c.d.indexOf(value), list = c.v || c.i;
      if (rows) rows = rows.filter(r => list[r] === code);
      else { rows = []; for (let r = 0; r < this.n; r++) if (list[r] === code) rows.push(r); }
    }
    return (rows || Array.from({ length: this.n }, (_, r) => r)).map(r => this.row(r));
  }
  distinct(name, wanted) {
    if (!this.n) return [];
    if (!wanted || !Object.keys(wanted).length) { const c = this.columns[name]; return [...new Set(c.v || c.d)]; }
    return [...new Set(this.where(wanted).map(r => r[name]))];
  }
}

const FRAMES = Object.fromEntries(Object.entries(DATA.figures).map(([name, raw]) => [name, new Frame(raw)]));
for (const frame of Object.values(FRAMES)) {  // score = instrument, with the subscale where it is not the total
  const { instrument, subscale } = frame.columns;
  if (!instrument || !subscale || !frame.n) continue;
  const names = new Map(), at = new Uint32Array(frame.n);
  for (let r = 0; r < frame.n; r++) {
    const i = frame.value("instrument", r), s = frame.value("subscale", r), name = s === "total" ? i : `${i}, ${s}`;
    if (!names.has(name)) names.set(name, names.size);
    at[r] = names.get(name);
  }
  frame.columns.score = { d: [...names.keys()], i: at };
}

const RULES = new Map(FRAMES.definitions.where({}).map(d => [d.definition, d]));
const VISITS = new Map(FRAMES.visits.where({}).filter(v => v.kind === "visit" || v.kind === "period").map((v, n) => [v.visit, n]));
const WORDS = {
  all: "All", vns: "VNS", vns_cbt: "VNS + CBT", cbt: "CBT", neither: "Neither", none_recorded: "None recorded", none: "No device",
  observed: "Only who was seen", locf: "Last score carried forward", nri: "Not seen is no response",
  implanted: "Implanted", cervical: "Cervical, through the skin", auricular: "Auricular, through the skin",
  off: "Off", low: "Low", middle: "Middle", high: "High", unknown: "Unknown", first_28_days: "First 28 days", before_activation: "Before activation", no_device: "No device",
  disorder: "Disorder", comorbidity: "Number of disorders", history: "History", age: "Age", sex: "Sex", site: "Site", polarity: "Polarity", epilepsy_intractable: "Epilepsy",
  failed_trials: "Failed trials", treatment_resistant: "At least two failed trials", ect_response: "Response to ECT", tms_response: "Response to TMS", age_at_onset: "Age at onset", baseline_severity: "Severity at baseline",
  tertile: "Thirds of the doses", d21: "Groups of the D-21 trial", any: "Any harm",
  no_baseline: "No baseline", no_follow_up: "No follow-up", baseline_zero: "Baseline of 0", no_index: "No index date", baseline_after_activation: "Baseline after activation",
};
const ARMS = ["vns_cbt", "vns", "cbt", "neither"];
const plainWord = name => { const text = String(name).replaceAll("_", " "); return text.charAt(0).toUpperCase() + text.slice(1); };
function word(name) {
  if (name === null || name === undefined) return "";
  if (Object.hasOwn(DATA.labels, name)) return DATA.labels[name];
  if (Object.hasOwn(WORDS, name)) return WORDS[name];
  if (RULES.has(name)) return RULES.get(name).label;
  const visit = /^m(\d+)(?:_(\d+))?$/.exec(name);
  if (visit) return visit[2] ? `Months ${visit[1]} to ${visit[2]}` : `Month ${visit[1]}`;
  if (String(name).startsWith("no_") && Object.hasOwn(DATA.labels, name.slice(3))) return `Not: ${lower(DATA.labels[name.slice(3)])}`;
  return plainWord(name);
}
const lower = text => /^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;

const whole = n => n === null || n === undefined ? "" : Math.round(n).toLocaleString("en");
const NARROW = "\u202f", MINUS = "\u2212";
const percent = x => x === null || x === undefined ? "" : `${(100 * x).toFixed(0)}${NARROW}%`;
const points = x => { const n = Math.round(100 * x); return n > 0 ? `+${n}` : n < 0 ? `${MINUS}${-n}` : "0"; };
const number = x => x === null || x === undefined ? "" : Math.abs(x) >= 100 ? whole(x) : String(Number(x.toPrecision(3)));
const chance = p => p === null || p === undefined ? "" : p < 0.001 ? "< 0.001" : p.toFixed(3);
const FEW = 10, CARE = "fewer than 10: read with care";

function wilson(k, n) {  // the macro wilson of the marts, for cells that are counted here
  if (!n) return { rate: null, low: null, high: null };
  const z = 1.959963984540054, p = k / n, scale = 1 + z * z / n, mid = p + z * z / (2 * n), half = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return { rate: p, low: k === 0 ? 0 : (mid - half) / scale, high: k === n ? 1 : (mid + half) / scale };
}
