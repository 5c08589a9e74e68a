-- How many patients of a stratum and arm are determined and respond, by each way of dealing with a missing follow-up.
-- 1. verdicts = responders in small numbers, arm and answers by all methods as one of them; the dose only where there is a device
--    (amount: charge in pC; on cervical devices, which cannot tell it, time of stimulation in ms).
--    Coverage in whole millionths, so that sums of it do not depend on the order of rows.
-- 2. counted  = one row per stratum, arm (and all arms), outcome and method
-- 3. tested   = the 2 x 2 tables whose odds ratios are compared: the strata of a group side by side; for a disorder those who have it
--    and everybody else, because disorders overlap. Arms with VNS against the arm without: vns with neither, vns_cbt with cbt.
create temp table answers as
select row_number() over ()::smallint as answer_id, *
from (select distinct arm, responded, responded_locf, responded_nri, reason is null and remitted as remitted from responders);

create temp table verdicts as
select p.patient, o.outcome_id, a.answer_id, s.stratum_id as severity_id, r.responded, r.modality,
    case when r.modality = 'cervical' then r.on_ms_28d when r.modality is not null then r.charge_pc_28d end as amount,
    case when r.modality is not null then round(r.coverage_28d * 1e6)::bigint end as covered_ppm
from responders as r
inner join people as p on p.patient_key = r.patient_key
inner join outcome_names as o
    on o.instrument = r.instrument and o.subscale = r.subscale and o.visit = r.visit and o.definition = r.definition
inner join answers as a
    on a.arm = r.arm and a.responded is not distinct from r.responded and a.responded_locf is not distinct from r.responded_locf
    and a.responded_nri is not distinct from r.responded_nri and a.remitted is not distinct from (r.reason is null and r.remitted)
left join stratum_names as s on s.stratifier = 'baseline_severity' and s.stratum = r.baseline_band;

create temp table counted as
with pairs as (
    select m.stratum_id, v.outcome_id, v.answer_id, count(*) as patients, sum(v.covered_ppm) as covered_ppm,
        count(v.covered_ppm) as with_coverage
    from verdicts as v
    inner join memberships as m on m.patient = v.patient
    group by m.stratum_id, v.outcome_id, v.answer_id
    union all
    select severity_id, outcome_id, answer_id, count(*), sum(covered_ppm), count(covered_ppm)
    from verdicts
    where severity_id is not null
    group by severity_id, outcome_id, answer_id
),

answered as (
    select p.*, a.arm, a.responded, a.responded_locf, a.responded_nri, a.remitted
    from pairs as p
    inner join answers as a on a.answer_id = p.answer_id
),

by_method as (
    select 'observed' as method, responded as outcome, * from answered
    union all
    select 'locf', responded_locf, * from answered
    union all
    select 'nri', responded_nri, * from answered
)

select stratum_id, outcome_id, method, coalesce(arm, 'all') as arm,
    sum(patients)::bigint as n_patients,
    coalesce(sum(patients) filter (outcome is not null), 0)::bigint as n,
    coalesce(sum(patients) filter (outcome), 0)::bigint as k,
    case when method = 'observed' then coalesce(sum(patients) filter (outcome is not null and remitted), 0)::bigint end as k_remission,
    sum(covered_ppm) filter (outcome is not null) / 1e6 / nullif(sum(with_coverage) filter (outcome is not null), 0) as coverage
from by_method
group by grouping sets ((stratum_id, outcome_id, method, arm), (stratum_id, outcome_id, method));

create temp table arm_pairs as
with comparisons (arm, comparator) as (values ('vns', 'neither'), ('vns_cbt', 'cbt'))

select s.stratifier, s.stratum, s.tested_group, c.stratum_id, c.outcome_id, c.method, c.arm, p.comparator, c.k as k1, c.n as n1,
    coalesce(o.k, 0) as k2, coalesce(o.n, 0) as n2
from counted as c
inner join comparisons as p on p.arm = c.arm
inner join stratum_names as s on s.stratum_id = c.stratum_id
left join counted as o
    on o.stratum_id = c.stratum_id and o.outcome_id = c.outcome_id and o.method = c.method and o.arm = p.comparator;

create temp table tested as
select stratifier, tested_group, outcome_id, method, arm, stratum, k1, n1, k2, n2
from arm_pairs
where stratifier <> 'all'
union all
select d.stratifier, d.tested_group, d.outcome_id, d.method, d.arm, 'others', a.k1 - d.k1, a.n1 - d.n1, a.k2 - d.k2, a.n2 - d.n2
from arm_pairs as d
inner join arm_pairs as a on a.stratifier = 'all' and a.outcome_id = d.outcome_id and a.method = d.method and a.arm = d.arm
where d.stratifier = 'disorder';
