// The tables of the last two sections: what became of the data, and what the words mean.
const METHODS = ["observed", "locf", "nri"];
const MODALITIES = ["implanted", "cervical", "auricular"];
const BANDS = ["off", "low", "middle", "high", "unknown", "first_28_days"];
const STRATIFIERS = ["all", "disorder", "comorbidity", "polarity", "epilepsy_intractable", "history", "failed_trials", "treatment_resistant", "ect_response", "tms_response", "age_at_onset", "age", "sex", "site", "baseline_severity"];
const instant = text => text ? `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` : "";
const landmark = () => FRAMES.meta.n ? FRAMES.meta.row(0).landmark_d : null;

const BOOKS = {
  incidents(frame) {
    const rows = frame.where({});
    if (!rows.length) return { empty: "None: every check of the audit passed." };
    const columns = [
      { head: "Check", cell: r => `${r.table}: ${r.rule}` }, { head: "Severity", cell: r => r.severity === "info" ? r.severity : [make("span", { class: "flag" }, r.severity)], text: true },
      { head: "Rows", cell: r => r.failed_rows === null ? "" : `${whole(r.failed_rows)} of ${whole(r.total_rows)}`, tight: true }, { head: "What it means", cell: r => r.meaning, text: true, long: true }, { head: "Owner", cell: r => r.owner, text: true },
    ];
    return { plot: [table(columns, rows, "Checks that failed")] };
  },
  sources(frame) {
    const rows = frame.where({}).filter(r => r.rows_read || r.last_known_at), open = rows.reduce((sum, r) => sum + (r.unbalanced_files || 0), 0), late = rows.filter(r => r.late);
    if (!rows.length) return { empty: "No rows have been read yet." };
    const bins = ["rows_read", "accepted", "duplicate", "superseded", "pending", "quarantined", "withdrawn"];
    const fresh = { head: "Latest news", cell: r => [r.last_known_at ? r.last_known_at.slice(0, 10) : "none", r.late ? make("span", { class: "flag" }, ` late, promised every ${number(r.freshness_days)} d`) : ""], text: true };
    return {
      plot: [table([{ head: "Source", cell: r => plainWord(r.source) }, ...bins.map(b => ({ head: plainWord(b), cell: r => whole(r[b]) })), fresh], rows, "Rows by source and bin, and freshness")],
      note: told(open ? `${whole(open)} files do not balance: rows read are not the sum of their bins` : "The ledger is closed: in every file, rows read = accepted + duplicate + superseded + pending + quarantined + withdrawn", late.length ? `Late: ${late.map(r => plainWord(r.source)).join(", ")}` : "No source is late"),
    };
  },
  quarantine(frame) {
    const rows = frame.where({});
    if (!rows.length) return { empty: "None: no row was kept out." };
    const columns = [{ head: "Rule", cell: r => r.rule }, { head: "Source", cell: r => plainWord(r.source), text: true }, { head: "Bin", cell: r => r.bin, text: true }, { head: "Rows", cell: r => whole(r.rows) }], shown = 12;
    const rest = rows.length > shown ? make("details", {}, make("summary", {}, `${whole(rows.length - shown)} more rules`), table(columns, rows.slice(shown), "Further rules")) : null;
    return { plot: [table(columns, rows.slice(0, shown), "Rows kept out, by rule"), rest].filter(Boolean), note: "Quarantined rows break their contract and are kept with their raw bytes; pending rows wait for the patient or device they name." };
  },
  definitions(frame) {
    const columns = [{ head: "Id", cell: r => r.definition }, { head: "Name", cell: r => r.label, text: true }, { head: "Rule", cell: r => r.rule, text: true, long: true }, { head: "Source", cell: r => r.source, text: true }, { head: "Confidence", cell: r => r.confidence, text: true }];
    if (!frame.n) return { empty: "The window holds no definitions." };
    return { plot: [table(columns, frame.where({}), "Outcome definitions")], note: "Confidence: S read in the source, C computed, K recalled with high (+), medium (~) or low (-) confidence." };
  },
  visits(frame) {
    if (!frame.n) return { empty: "The window holds no visit windows." };
    const columns = [{ head: "Window", cell: r => word(r.visit) }, { head: "Kind", cell: r => r.kind, text: true }, { head: "Days", cell: r => r.from_d === r.to_d || r.from_d === null ? whole(r.to_d) : `${whole(r.from_d).replace("-", MINUS)} to ${whole(r.to_d)}`, tight: true }, { head: "Target day", cell: r => whole(r.target_d) }, { head: "Source", cell: r => r.source, text: true }, { head: "Confidence", cell: r => r.confidence, text: true }];
    return { plot: [table(columns, frame.where({}), "Visit windows, days after the index date")], note: "Days after the index date, both ends included; the score nearest to the target day counts, of two equally near the later." };
  },
};
