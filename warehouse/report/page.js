// What the reader chooses, and putting the figures in place.
const BASE = ["explorer", "forest", "dose"].map(name => FRAMES[name]).find(frame => frame.n && frame.columns.score);
const first = FRAMES.headline.n ? FRAMES.headline.row(0) : {};
const NOW = { score: first.score, definition: first.definition || "drop_50", visit: first.visit, method: "observed", disorder: ALL, history: ALL, arm: ALL, compare: "arm", comparison: "vns", stratifier: innerWidth < 700 ? "disorder" : ALL, banding: "tertile", event: "retained_40", groups: "arm", term: "any" };

const LEVELS = ["minimal", "mild", "moderate", "moderately_severe", "severe"];
const ORDER = {
  stratum: s => LEVELS.indexOf(s), visit: v => VISITS.get(v) ?? 99, arm: a => [ALL, ...ARMS].indexOf(a), method: m => METHODS.indexOf(m), definition: d => [...RULES.keys()].indexOf(d), score: () => 0,
  disorder: d => d === ALL ? -1 : d === "none_recorded" ? 99 : Object.keys(DATA.labels).indexOf(d), history: h => h === ALL ? -1 : Object.keys(DATA.labels).indexOf(h.replace(/^no_/, "")) * 2 + h.startsWith("no_"),
};
const inOrder = (rows, by, of = r => r[by]) => [...rows].sort((p, q) => ORDER[by](of(p)) - ORDER[by](of(q)) || String(of(p)).localeCompare(of(q), "en", { numeric: true }));
const rowWord = (by, value) => value === ALL ? { arm: "All arms", disorder: "All patients", history: "Any history" }[by] || word(value) : word(value);
const sorted = (values, by) => inOrder(values.map(v => ({ [by]: v })), by).map(r => r[by]);

function describe(now, except) {
  const who = [except === "disorder" ? "" : now.disorder === ALL ? "" : word(now.disorder)];
  return about(except === "score" ? "" : now.score, except === "definition" ? "" : word(now.definition), except === "visit" ? "" : lower(word(now.visit)), except === "method" ? "" : lower(word(now.method)), ...who);
}

const CHOICES = {  // control -> its words and options; a list that depends on another choice is asked anew
  score: ["Score", () => sorted(BASE.distinct("score"), "score")],
  definition: ["Outcome", now => sorted(BASE.distinct("definition", { score: now.score }), "definition")],
  visit: ["Visit", now => sorted(BASE.distinct("visit", { score: now.score, definition: now.definition }), "visit")],
  method: ["Missing follow-up", () => METHODS],
  disorder: ["Disorder", () => sorted(BASE.columns.disorder ? BASE.distinct("disorder") : [ALL], "disorder")],
  compare: ["Compare by", () => ["arm", "disorder", "history", "visit", "definition", "score", "method"], { arm: "Arm", visit: "Visit", definition: "Outcome", score: "Score", method: "Missing follow-up" }],
  history: ["History", () => sorted(FRAMES.explorer.n ? FRAMES.explorer.distinct("history") : [ALL], "history")],
  arm: ["Arm", () => [ALL, ...ARMS]],
  comparison: ["Compare", () => ["vns", "vns_cbt"], { vns: "VNS with neither", vns_cbt: "VNS + CBT with CBT" }],
  stratifier: ["Strata", () => STRATIFIERS.filter(s => s === ALL || FRAMES.forest.distinct("stratifier").includes(s)), { all: "All of them" }],
  banding: ["Bands of dose", () => FRAMES.dose.distinct("banding")],
  event: ["Event", () => [...FRAMES.survival.distinct("definition")].reverse(), { retained_40: "Loss of a response", first_response: "First response" }],
  groups: ["Curves", () => ["arm", ALL], { arm: "By arm", all: "All patients together" }],
  term: ["Harm", () => ["any", ...FRAMES.risk.distinct("term").filter(t => t !== "any").sort()]],
};
const SHARED = ["score", "definition", "visit", "method", "disorder"];
const LOCAL = { explorer: ["compare", "history", "arm"], forest: ["comparison", "stratifier"], dose: ["banding"], survival: ["event", "groups"], risk: ["term"] };

function control(name) {
  const [title, options, words = {}] = CHOICES[name], list = options(NOW);
  if (!list.includes(NOW[name])) NOW[name] = list.includes(ALL) ? ALL : list[0];
  const select = make("select", { name }, ...list.map(v => make("option", { value: v }, words[v] || rowWord(name, v))));
  select.value = NOW[name];
  select.disabled = list.length < 2 && name !== "method";
  select.addEventListener("change", () => { NOW[name] = select.value; refresh(name); });
  return make("label", {}, title, select);
}

function controls() {
  document.getElementById("choices").replaceChildren(...SHARED.map(control));
  for (const [name, list] of Object.entries(LOCAL)) {
    const place = document.querySelector(`[data-figure="${name}"] .local`);
    if (FRAMES[name].n) place.replaceChildren(...list.map(control));
  }
  for (const select of document.querySelectorAll("select")) if (select.name === NOW.compare) { select.title = "compared in the explorer"; if (!SHARED.includes(select.name)) select.disabled = true; }
}

function show(name) {
  const figure = document.querySelector(`[data-figure="${name}"]`), frame = FRAMES[name], place = figure.querySelector(".plot"), said = part => figure.querySelector(part);
  const lacking = frame.n && frame.columns.score && !frame.columns.score.d.includes(NOW.score) && FRAMES.explorer.n && FRAMES.explorer.columns.score.d.includes(NOW.score);
  const made = frame.error ? { empty: frame.error } : lacking ? { empty: `Not on this page for ${NOW.score}${NOW.score.includes(", ") ? ": run the SQL below without its condition on is_primary" : ""}.` } : FIGURES[name](frame, NOW, place.clientWidth || 320);
  const { what = "", plot = [], note = "", table: shown } = made;
  if (said(".what")) said(".what").textContent = what;
  if (made.empty) empty(place, made.empty); else place.replaceChildren(...plot);
  said(".note").textContent = note;
  if (said(".table")) { said(".table").hidden = !shown; said(".rows").replaceChildren(...(shown ? [table(...shown)] : [])); }
}

function broken(error) {
  const place = document.getElementById("broken");
  place.hidden = false;
  place.textContent = `This page could not draw everything: ${error && error.message || error}`;
  document.documentElement.dataset.error = place.textContent;
}
function showAll() {
  for (const name of Object.keys(FIGURES)) try { show(name); } catch (error) { broken(error); }
  document.documentElement.dataset.drawn = String(document.querySelectorAll("main svg").length);
}
function refresh(changed) {
  if (BASE) controls();
  showAll();
  document.getElementById("told").textContent = `Now showing ${describe(NOW)}`;
  if (changed) document.querySelector(`select[name="${changed}"]`)?.focus();
}

function facts() {
  if (!FRAMES.meta.n) return;
  const m = FRAMES.meta.row(0), place = document.getElementById("facts");
  place.textContent = about(`Load ${whole(m.load)}, published ${instant(m.published_at)}`, m.known_by ? `as known by ${instant(m.known_by)}` : "with everything known", `${whole(m.patients)} patients, ${whole(m.patients_with_device)} with a device`, `${whole(m.responses)} scored surveys`, `arms decided on day ${whole(m.landmark_d)}`);
  document.getElementById("landmark").textContent = `, day ${whole(m.landmark_d)} after the index date`;
  if (m.flags && m.flags.length) place.after(make("p", { class: "caution" }, `Published with warnings of the audit: ${m.flags.join("; ")}.`));
  document.getElementById("foot").textContent = `Made ${instant(DATA.made_at)} from the published marts of ${DATA.title}. Aggregates only; nothing on this page asks another address.`;
}

function theme() {
  const button = document.getElementById("theme"), root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : dark.matches, tell = () => { button.textContent = isDark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; tell(); });
  dark.addEventListener("change", tell);
  tell();
}

addEventListener("error", event => broken(event.error || event.message));
theme();
facts();
if (BASE) controls(); else document.getElementById("choices").hidden = true;
showAll();
let drawnAt = document.querySelector("main").clientWidth;
new ResizeObserver(() => { const width = document.querySelector("main").clientWidth; if (width !== drawnAt) { drawnAt = width; showAll(); } }).observe(document.querySelector("main"));
