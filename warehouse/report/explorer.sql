-- Who responded: patients, determined outcomes and responders in every cell of disorder, history, arm, score, visit and definition.
-- 1. Patients with the same disorders and the same history are counted together first.
-- 2. Each of these groups counts in `all`, in each of its disorders (none_recorded without any), and in the flag or no_ flag of every
--    kind of history: cells of different disorders or histories overlap and must not be added up.
-- 3. observed: who was seen; locf: the last score carried forward; nri: not seen is no response.
with kinds as (
    unpivot (select patient_key, failed_trials_4plus, treatment_resistant, ect, tms, tms_esketamine, hospitalised, suicide_attempt,
        childhood_adversity, psychotherapy from patients)
    on columns(* exclude patient_key) into name flag value has_it
),

profiles as (
    select p.patient_key, any_value(case when len(p.disorders) > 0 then p.disorders else ['none_recorded'] end) as disorders,
        list(case when k.has_it then k.flag else 'no_' || k.flag end order by k.flag) as history
    from patients as p
    inner join kinds as k on k.patient_key = p.patient_key
    group by p.patient_key
),

counted as (
    select f.disorders, f.history, r.definition, r.instrument, r.subscale, r.visit, r.arm,
        count(*) as n_patients,
        count(r.responded) as n, count(*) filter (r.responded) as k,
        count(r.responded_locf) as n_locf, count(*) filter (r.responded_locf) as k_locf,
        count(r.responded_nri) as n_nri, count(*) filter (r.responded_nri) as k_nri
    from responders as r
    inner join profiles as f on f.patient_key = r.patient_key
    group by all
),

by_disorder as (
    select unnest(list_prepend('all', disorders)) as disorder, * exclude (disorders)
    from counted
),

in_cells as (
    select disorder, unnest(list_prepend('all', history)) as history, * exclude (disorder, history)
    from by_disorder
)

select definition, instrument, subscale, visit, disorder, history, coalesce(arm, 'all') as arm,
    sum(n_patients)::bigint as n_patients, sum(n)::bigint as n, sum(k)::bigint as k, sum(n_locf)::bigint as n_locf,
    sum(k_locf)::bigint as k_locf, sum(n_nri)::bigint as n_nri, sum(k_nri)::bigint as k_nri
from in_cells
group by grouping sets (
    (definition, instrument, subscale, visit, disorder, history, arm), (definition, instrument, subscale, visit, disorder, history)
)
order by all
