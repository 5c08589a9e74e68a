// One function per figure: from the rows of its SQL file and the choices made to a drawing, a table and what they show, in words.
const about = (...parts) => parts.filter(Boolean).join(" · ");
const told = (...parts) => parts.filter(Boolean).map(p => `${p}.`).join(" ");
const nOf = r => `${whole(r.k)} of ${whole(r.n)}`;
const between = (low, high, show) => low === null || low === undefined ? "" : `${show(low)} to ${show(high)}`;
const cautions = rows => [...new Set(rows.flatMap(r => (r.caution || "").split(";").map(c => c.trim()).filter(Boolean)))];
const warned = rows => { const found = cautions(rows); return found.length ? `Cautions: ${found.join("; ")}` : ""; };
const joinSentences = (...parts) => parts.filter(Boolean).join(". ");
const fraction = (k, n) => n === null || n === undefined ? "" : `${whole(k)}/${whole(n)}`;
const care = n => n < FEW ? make("span", { class: "flag" }, ` ${CARE}`) : "";
const sharePercent = { low: 0, high: 1, tick: percent };
const REASONS = { no_patients: "nobody determined", no_comparator: "nobody to compare with", no_event: "no response in either arm", no_non_event: "everybody responded in both arms" };

const FIGURES = {
  explorer(frame, now, width) {
    const wanted = { score: now.score, definition: now.definition, visit: now.visit, disorder: now.disorder, history: now.history, arm: now.arm };
    const by = now.compare, method = by === "method" ? null : now.method;
    if (by !== "method") delete wanted[by];
    const counts = (r, m) => m === "observed" ? { n: r.n, k: r.k } : { n: r[`n_${m}`], k: r[`k_${m}`] };
    const found = frame.where(wanted).flatMap(r => (method ? [method] : METHODS).map(m => ({ ...r, method: m, ...counts(r, m) })));
    const rows = inOrder(found, by).map(r => ({ ...r, ...wilson(r.k, r.n) }));
    if (!rows.length) return { empty: "Nobody was asked for this choice. Choose another visit, score or disorder." };
    const drawn = rows.map(r => ({ name: rowWord(by, r[by]), at: r.rate, low: r.low, high: r.high, few: r.n < FEW, look: r[by] === ALL || ["cbt", "neither"].includes(r[by]) ? "b" : "a", texts: r.n ? [percent(r.rate), nOf(r)] : ["", "nobody determined"] }));
    return {
      what: about(describe(now, by), by === "arm" ? "by arm" : by === "method" ? "by missing follow-up" : `by ${by === "definition" ? "outcome" : by}`),
      plot: [intervals(width, drawn, { ...sharePercent, columns: ["rate", "responded of determined"], name: `Response rate by ${by} with 95 % interval; the numbers are in the table below`, title: "responded, with 95 % interval" })],
      note: told(by === "disorder" || by === "history" ? "Rows overlap: a patient can count in several" : "", "Hollow: fewer than 10 patients, read with care", "Arms were not assigned by lot: an association"),
      table: [[
        { head: plainWord(by), cell: r => rowWord(by, r[by]) }, { head: "Patients", cell: r => whole(r.n_patients) }, { head: "Determined (n)", cell: r => [whole(r.n), care(r.n)] },
        { head: "Responded", cell: r => whole(r.k) }, { head: "Rate", cell: r => percent(r.rate) }, { head: "95 % interval", cell: r => between(r.low, r.high, percent), tight: true },
      ], rows, "Responders in the chosen cells"],
    };
  },

  forest(frame, now, width) {
    const found = frame.where({ score: now.score, definition: now.definition, visit: now.visit, method: now.method, arm: now.comparison });
    const rows = found.filter(r => now.stratifier === ALL || r.stratifier === now.stratifier || r.stratifier === ALL);
    if (!rows.some(r => r.n + (r.n_comparator || 0))) return { empty: `Nobody on ${word(now.comparison)} can be compared at this visit. Choose another visit, score or comparison.` };
    const sure = rows.filter(r => r.risk_difference !== null && Math.min(r.n, r.n_comparator) >= FEW), seen = [...sure.flatMap(r => [r.risk_difference_low, r.risk_difference_high]), ...rows.map(r => r.risk_difference ?? 0)].map(Math.abs);
    const high = Math.min(1, Math.max(.2, Math.ceil(10 * Math.max(0, ...seen) + .01) / 10)), groups = [...new Set(rows.map(r => r.stratifier))].sort((p, q) => STRATIFIERS.indexOf(p) - STRATIFIERS.indexOf(q));
    const one = r => ({
      name: r.stratifier === ALL ? "All patients" : word(r.stratum), indent: r.stratifier !== ALL, at: r.risk_difference, low: r.risk_difference_low, high: r.risk_difference_high, shape: r.stratifier === ALL ? "square" : "circle", few: Math.min(r.n, r.n_comparator || 0) < FEW,
      under: r.n_comparator === null ? fraction(r.k, r.n) : `${fraction(r.k, r.n)} v ${fraction(r.k_comparator, r.n_comparator)}`,
      texts: r.risk_difference === null ? [REASONS[r.reason] || "no comparison", fraction(r.k, r.n), fraction(r.k_comparator, r.n_comparator), ""] : [`${points(r.risk_difference)} (${between(r.risk_difference_low, r.risk_difference_high, points)})`, fraction(r.k, r.n), fraction(r.k_comparator, r.n_comparator), chance(r.p_adjusted)],
    });
    const drawn = groups.flatMap(g => {
      const inside = inOrder(rows.filter(r => r.stratifier === g), g === "disorder" || g === "history" ? g : "stratum", r => r.stratum), p = inside.find(r => r.heterogeneity_p !== null)?.heterogeneity_p;
      return g === ALL ? inside.map(one) : [{ heading: word(g), aside: p === undefined ? "" : `heterogeneity p ${p < .001 ? "" : "= "}${chance(p)}` }, ...inside.map(one)];
    });
    const [with_, without] = now.comparison === "vns" ? ["VNS", "neither VNS nor CBT"] : ["VNS + CBT", "CBT alone"];
    return {
      what: about(describe(now, "disorder"), `${with_} against ${without}`),
      plot: [intervals(width, drawn, { low: -high, high, reference: 0, ends: ["fewer respond on VNS", "more respond on VNS"], keep: 1, columns: ["difference (95 % interval)", with_, without === "CBT alone" ? without : "neither", "adjusted p"], tick: points, name: `Difference of response rates, ${with_} minus ${without}, per stratum; the numbers are in the table below`, title: "difference in percentage points, with 95 % interval" })],
      note: told(`${with_} and ${without === "CBT alone" ? "CBT" : "neither"}: responders / determined patients`, "p: adjusted over the strata; at the headings, of the same odds ratio in all strata", "Hollow: fewer than 10 in an arm, read with care", warned(rows)),
      table: [[
        { head: "Stratum", cell: r => r.stratifier === ALL ? "All patients" : `${word(r.stratifier)}: ${word(r.stratum)}` }, { head: with_, cell: r => nOf(r), tight: true }, { head: plainWord(without), cell: r => r.n_comparator === null ? "" : `${whole(r.k_comparator)} of ${whole(r.n_comparator)}`, tight: true },
        { head: "Difference, points", cell: r => r.risk_difference === null ? REASONS[r.reason] || "" : points(r.risk_difference) }, { head: "95 % interval", cell: r => between(r.risk_difference_low, r.risk_difference_high, points), tight: true },
        { head: "Adjusted p", cell: r => chance(r.p_adjusted), tight: true }, { head: "Caution", cell: r => [r.caution || "", care(Math.min(r.n, r.n_comparator || 0))], text: true, long: true },
      ], rows, `Difference of response rates per stratum, ${with_} minus ${without}`],
    };
  },

  synergy(frame, now, width) {
    const rows = inOrder(frame.where({ score: now.score, definition: now.definition, visit: now.visit, method: now.method }), "disorder", r => r.stratifier === ALL ? ALL : r.stratum);
    if (!rows.some(r => r.interaction !== null)) return { empty: "There are not all four arms for this choice: VNS, CBT, both and neither." };
    const least = r => Math.min(r.n_vns, r.n_cbt, r.n_both, r.n_neither), rate = (k, n) => n ? percent(k / n) : "";
    const sure = rows.filter(r => r.interaction !== null && least(r) >= FEW), seen = [...sure.flatMap(r => [r.interaction_low, r.interaction_high]), ...rows.map(r => r.interaction ?? 0)].map(Math.abs);
    const high = Math.min(2, Math.max(.2, Math.ceil(10 * Math.max(0, ...seen) + .01) / 10)), added = r => `${points(r.interaction)} (${between(r.interaction_low, r.interaction_high, points)})`;
    const drawn = rows.map(r => ({
      name: r.stratifier === ALL ? "All patients" : word(r.stratum), indent: r.stratifier !== ALL, at: r.interaction, low: r.interaction_low, high: r.interaction_high, shape: r.stratifier === ALL ? "square" : "circle", few: least(r) < FEW,
      under: `both ${rate(r.k_both, r.n_both)}, VNS ${rate(r.k_vns, r.n_vns)}, CBT ${rate(r.k_cbt, r.n_cbt)}, neither ${rate(r.k_neither, r.n_neither)}`,
      texts: [r.interaction === null ? "an arm is empty" : added(r), rate(r.k_both, r.n_both), rate(r.k_vns, r.n_vns), rate(r.k_cbt, r.n_cbt), rate(r.k_neither, r.n_neither)],
    }));
    return {
      what: about(describe(now, "disorder"), "VNS with CBT beside each alone"),
      plot: [intervals(width, drawn, { low: -high, high, reference: 0, ends: ["less than added up", "more than added up"], keep: 1, columns: ["beyond the sum (95 %)", "both", "VNS", "CBT", "neither"], tick: points, name: "Response with VNS and CBT beyond the two gains added up, per disorder; the numbers are in the table below", title: "points beyond both gains, with 95 % interval" })],
      note: told("Columns: share that responded in each arm", "Disorders overlap: a patient can count in several", "Hollow: fewer than 10 in an arm, read with care", warned(rows)),
      table: [[
        { head: "Patients", cell: r => r.stratifier === ALL ? "All patients" : word(r.stratum) }, ...[["VNS + CBT", "both"], ["VNS", "vns"], ["CBT", "cbt"], ["Neither", "neither"]].map(([head, arm]) => ({ head, cell: r => `${whole(r[`k_${arm}`])} of ${whole(r[`n_${arm}`])}`, tight: true })),
        { head: "Beyond the sum, points", cell: r => r.interaction === null ? "" : points(r.interaction) }, { head: "95 % interval", cell: r => between(r.interaction_low, r.interaction_high, points), tight: true }, { head: "Caution", cell: r => [r.caution || "", care(least(r))], text: true, long: true },
      ], rows, "Response with VNS, CBT, both and neither"],
    };
  },

  dose(frame, now, width) {
    const rows = doses(frame, now, now.banding), kinds = [...new Set(rows.map(r => r.modality))].sort((p, q) => MODALITIES.indexOf(p) - MODALITIES.indexOf(q));
    if (!rows.length) return { empty: "Nobody with a device has a determined response for this choice, so there is no dose to look at." };
    const high = Math.min(1, Math.ceil(10 * Math.max(.3, ...rows.map(r => r.n >= FEW ? r.high : r.k / r.n)) + .4) / 10), across = Math.max(1, Math.min(kinds.length, Math.floor((width + 36) / 336))), each = (width - 36 * (across - 1)) / across;
    const panels = kinds.map(kind => {
      const inside = rows.filter(r => r.modality === kind), known = inside.filter(r => r.dose_mean !== null && r.band !== "unknown"), lost = inside.filter(r => !known.includes(r));
      const bands = known.map(r => ({ name: word(r.band), at: r.dose_mean, from: r.dose_min, to: r.dose_max, rate: r.k / r.n, low: r.low, high: r.high, n: r.n, few: r.n < FEW, joined: r.band_rank !== null })).sort((p, q) => p.at - q.at);
      const trend = inside.find(r => r.trend_p !== null), within = inside.find(r => r.stratified_trend_p !== null);
      const said = joinSentences(trend ? `Trend from low to high: p ${trend.trend_p < .001 ? "" : "= "}${chance(trend.trend_p)}${within ? ` (within sets of disorders ${chance(within.stratified_trend_p)})` : ""}` : "No trend can be tested", lost.length ? `Dose unknown: ${lost.map(nOf).join(", ")} responded` : "");
      const what = MEASURES[inside[0].measure];
      const axis = { high, title: what, side: "responded", name: `${word(kind)}: response rate by ${what}; the numbers are in the table below` };
      return make("div", {}, make("h3", {}, word(kind)), bands.length ? dosePlot(each, bands, axis) : make("p", { class: "empty" }, "The dose is not known for anybody."), make("p", {}, `${bands.length ? `Patients: ${bands.map(b => `${lower(b.name)} ${whole(b.n)}`).join(", ")}. ` : ""}${said}.`));
    });
    const grid = make("div", { class: "panels" }, ...panels);
    grid.style.gridTemplateColumns = `repeat(${across}, minmax(0, 1fr))`;
    return {
      what: about(describe({ ...now, method: "observed" }, null), lower(word(now.banding))), plot: [grid],
      note: told("A point is the mean dose of a band; the pale line spans the doses in it, the upright line is the 95 % interval", "Off (grey) is not in the trend", "Hollow: fewer than 10 patients, read with care", warned(rows)),
      table: [[
        { head: "Device", cell: r => word(r.modality) }, { head: "Band", cell: r => word(r.band), text: true }, { head: "Measure", cell: r => MEASURES[r.measure], text: true }, { head: "Mean", cell: r => number(r.dose_mean) }, { head: "from to", cell: r => between(r.dose_min, r.dose_max, number), tight: true },
        { head: "Responded", cell: r => [nOf(r), care(r.n)] }, { head: "Rate", cell: r => percent(r.k / r.n) }, { head: "95 % interval", cell: r => between(r.low, r.high, percent), tight: true }, { head: "Coverage", cell: r => percent(r.coverage) },
      ], rows, "Response by band of dose"],
    };
  },

  survival(frame, now, width) {
    const arms = now.groups === ALL ? [ALL] : ARMS, rows = frame.where({ definition: now.event, score: now.score, disorder: now.disorder }).filter(r => arms.includes(r.arm));
    const curves = arms.map(arm => rows.filter(r => r.arm === arm)).filter(steps => steps.length > 1).map(steps => ({ name: word(steps[0].arm), steps, shaded: true, look: ["cbt", "neither"].includes(steps[0].arm) ? "b" : "a", dash: ["vns", "neither"].includes(steps[0].arm) ? "6 4" : null }));
    if (!curves.length) return { empty: now.event === "first_response" ? "Nobody was followed for this choice." : "Nobody has responded and been seen again for this choice." };
    const kept = now.event !== "first_response", few = curves.filter(c => c.steps[0].n < FEW).map(c => c.name), side = kept ? "still in response" : "not responded yet";
    const at = (r, day) => r.steps.findLast(s => s.day <= day), days = [91, 182, 274, 365].filter(d => curves.some(c => c.steps.at(-1).day >= d));
    return {
      what: about(now.score, kept ? "Loss of a response" : "First response", now.disorder === ALL ? "" : word(now.disorder)),
      plot: [stepPlot(width, curves, { side, title: kept ? "months from the first response" : "months from the index date", landmark: !kept && now.groups !== ALL ? landmark() : null, name: `Share of patients ${side} over time; the numbers are in the table below` })],
      note: told(`Kaplan-Meier with 95 % intervals (shaded). ${now.groups === ALL ? "All patients, from the start" : "In an arm patients count from the landmark on, when the arm was decided: nobody is given time before it"}`, few.length ? `${few.join(", ")}: ${CARE}` : "", now.groups === ALL ? "" : "Arms were not assigned by lot: an association"),
      table: [[{ head: "Arm", cell: c => c.name }, { head: "Patients", cell: c => [whole(c.steps[0].n), care(c.steps[0].n)] }, ...days.map(d => ({ head: `Day ${d}`, cell: c => { const s = at(c, d); return c.steps.at(-1).day + 7 < d || !s ? "" : `${percent(s.survival)}${s.low === null ? "" : ` (${between(s.low, s.high, percent)})`}`; }, tight: true }))], curves, `Share ${side} by arm`],
    };
  },

  risk(frame, now, width) {
    const stratifier = now.disorder === ALL ? ALL : "disorder", harms = frame.where({ term: now.term, stratum: now.disorder, stratifier }).filter(r => r.n > 0 && r.modality !== "none" && BANDS.includes(r.band)), gains = doses(FRAMES.dose, now, "tertile");
    if (!harms.length && !gains.length) return { empty: "There is neither a response by dose nor time at risk for this choice." };
    const kinds = MODALITIES.filter(m => harms.some(r => r.modality === m) || gains.some(r => r.modality === m)), pair = width >= 876, each = pair ? (width - 36) / 2 : width;
    const rows = kinds.flatMap(m => BANDS.map(b => ({ modality: m, band: b, gain: gains.find(r => r.modality === m && r.band === b), harm: harms.find(r => r.modality === m && r.band === b) }))).filter(r => r.gain || r.harm);
    const none = { at: null, texts: ["", "–"] }, list = show => kinds.flatMap(m => [{ heading: word(m) }, ...rows.filter(r => r.modality === m).map(r => ({ name: word(r.band), indent: true, ...show(r) }))]);
    const most = Math.max(1, ...harms.filter(r => r.patient_years >= 1).map(r => r.high)), steps = ticks(0, most, 4), top = steps.at(-1) >= most ? steps.at(-1) : steps.at(-1) + (steps[1] || most);
    const left = list(({ gain: g }) => g ? { at: g.k / g.n, low: g.low, high: g.high, few: g.n < FEW, texts: [percent(g.k / g.n), nOf(g)] } : none);
    const right = list(({ harm: h }) => h && h.rate !== null ? { at: h.rate, low: h.low, high: h.high, few: h.n < FEW, look: "b", shape: "square", texts: [number(h.rate), `${whole(h.events)} in ${number(h.patient_years)}`] } : none);
    return {
      what: about(now.disorder === ALL ? "All patients" : word(now.disorder), `${now.score}, ${lower(word(now.definition))}, ${lower(word(now.visit))}`, `harm: ${lower(word(now.term))}`),
      plot: [make("div", {}, make("h3", {}, "Benefit: responded"), intervals(each, left, { ...sharePercent, columns: ["rate", "responded"], name: "Response rate by device and dose; the numbers are in the table below", title: "responded, with 95 % interval" })),
        make("div", {}, make("h3", {}, `Risk: ${lower(word(now.term))}`), intervals(each, right, { columns: ["per 100 y", "events in years"], low: 0, high: top, tick: number, name: "Adverse events per 100 patient-years by device and dose; the numbers are in the table below", title: "events per 100 patient-years, with 95 % interval" }))],
      note: told("Bands of benefit are thirds of patients, those of risk thirds of patient-time", "Hollow: fewer than 10 patients, read with care", warned([...gains, ...harms])),
      table: [[
        { head: "Device and dose", cell: r => `${word(r.modality)}: ${lower(word(r.band))}` }, { head: "Responded", cell: r => r.gain ? [nOf(r.gain), care(r.gain.n)] : "" }, { head: "Rate", cell: r => r.gain ? percent(r.gain.k / r.gain.n) : "" },
        { head: "Patients at risk", cell: r => r.harm ? [whole(r.harm.n), care(r.harm.n)] : "" }, { head: "Events", cell: r => r.harm ? whole(r.harm.events) : "" }, { head: "Serious", cell: r => r.harm ? whole(r.harm.serious) : "" }, { head: "Related", cell: r => r.harm ? whole(r.harm.related) : "" },
        { head: "Per 100 patient-years", cell: r => r.harm && r.harm.rate !== null ? `${number(r.harm.rate)} (${between(r.harm.low, r.harm.high, number)})` : "", tight: true },
      ], rows, "Benefit and risk by device and dose"],
    };
  },

  coverage(frame, now) {
    const rows = frame.where({ score: now.score }), visits = [...new Set(rows.map(r => r.visit))].sort((p, q) => VISITS.get(p) - VISITS.get(q));
    if (!rows.length) return { empty: "Nobody was asked." };
    const meter = (share, text) => { const bar = make("i"); bar.style.width = `${100 * (share || 0)}%`; return [text, make("span", { class: "meter", "aria-hidden": "true" }, bar)]; };
    const arms = [ALL, ...ARMS].filter(a => rows.some(r => r.arm === a)), one = (arm, visit) => rows.find(r => r.arm === arm && r.visit === visit);
    const seen = visit => ({ head: word(visit), cell: arm => { const r = one(arm, visit); return r && r.n_patients ? meter(r.n / r.n_patients, `${percent(r.n / r.n_patients)} (${nOf({ k: r.n, n: r.n_patients })})`) : ""; }, tight: true });
    const known = visit => ({ head: word(visit), cell: arm => { const r = one(arm, visit); return r && r.coverage !== null ? meter(r.coverage, percent(r.coverage)) : ""; } });
    const arm = { head: "Arm", cell: a => word(a) }, withDose = arms.filter(a => rows.some(r => r.arm === a && r.coverage !== null));
    return {
      what: `${now.score}: response determined, of all patients ever asked`,
      plot: [table([arm, ...visits.map(seen)], arms, "Patients with a determined response by arm and visit"), make("p", { class: "what" }, "Dose known, share of the 28 days before the follow-up"), withDose.length ? table([arm, ...visits.map(known)], withDose, "Coverage of the dose by arm and visit") : make("p", { class: "empty" }, "Nobody among them has a device.")],
    };
  },

  missing(frame, now) {
    const rows = frame.where({ score: now.score }), visits = [...new Set(rows.map(r => r.visit))].sort((p, q) => VISITS.get(p) - VISITS.get(q)), reasons = [...new Set(rows.map(r => r.reason))];
    if (!rows.length) return { empty: "Every response could be determined." };
    return { what: `${now.score}: why a response is missing, patients`, plot: [table([{ head: "Reason", cell: r => word(r) }, ...visits.map(v => ({ head: word(v), cell: reason => whole(rows.find(r => r.visit === v && r.reason === reason)?.patients ?? 0) }))], reasons, "Patients without a determined response, by reason and visit")] };
  },
  ...BOOKS,
};

const MEASURES = { charge: "mean charge per day, mC", time: "mean stimulation per day, minutes" };

function doses(frame, now, banding) {
  const rows = frame.where({ score: now.score, definition: now.definition, visit: now.visit, stratum: now.disorder, stratifier: now.disorder === ALL ? ALL : "disorder", banding }).filter(r => r.n > 0);
  return rows.sort((p, q) => MODALITIES.indexOf(p.modality) - MODALITIES.indexOf(q.modality) || BANDS.indexOf(p.band) - BANDS.indexOf(q.band));
}
