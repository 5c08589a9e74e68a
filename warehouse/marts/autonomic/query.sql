-- Autonomic: resting heart rate and its variability at each visit against baseline, with the dose before.
-- 1. Who: every patient with any accepted measurement of the kind (1_measured.sql), at every visit responders has
-- 2. baseline  = last value from the baseline window up to the start that is not after the first activation; of two at once the larger key
-- 3. follow-up = value nearest to the target day of the visit window; equally near: the later, then the larger key
-- 4. change    = follow-up less baseline; null with the first reason that holds: no_index, no_baseline, no_follow_up
-- 5. dose of the 28 UTC days before the day of the follow-up (2_dosed.sql); null without a device or before its first day
-- Vagal tone slows the heart and raises rmssd and sdnn: an improvement is a fall of the first and a rise of the others. The dose is what
-- a patient tolerates, so a row with a dose is an association. Measurements of one patient are taken as the site took them.
-- Reference: windows as in visit_windows; Task Force 1996, Circulation 93:1043 (rmssd, sdnn).
with asked as (
    select distinct patient, measure from measured
),

baselines as (
    select m.patient, m.measure, count(*) as n_baseline, max_by(m.value, (m.after_us, m.measurement_key)) as baseline
    from measured as m
    inner join people as p on p.patient = m.patient
    cross join (from windows where kind = 'baseline') as w
    where m.after_us between w.from_us and least(greatest(w.to_us, p.start_us), p.activated_us)
    group by m.patient, m.measure
),

compared as (
    select p.*, a.measure, v.visit, b.baseline, n.follow_up['value'] as follow_up, n.follow_up['at'] as follow_up_at,
        coalesce(b.n_baseline, 0) as n_baseline, coalesce(n.n_follow_up, 0) as n_follow_up, d.charge_pc_28d, d.on_ms_28d, d.covered_days,
        date_diff('day', make_timestamptz(p.index_us + p.activated_us)::date, follow_up_at::date) as days_active,
        case
            when p.index_us is null then 'no_index' when b.baseline is null then 'no_baseline' when n.follow_up is null then 'no_follow_up'
        end as reason
    from asked as a
    inner join people as p on p.patient = a.patient
    cross join (from windows where kind = 'visit') as v
    left join baselines as b on b.patient = a.patient and b.measure = a.measure
    left join nearest as n on n.patient = a.patient and n.measure = a.measure and n.visit = v.visit
    left join dosed_days as d on d.patient = a.patient and d.day = n.follow_up['at']::date
)

select patient_key, measure, visit, case measure when 'resting_hr' then '1/min' else 'ms' end as unit, baseline, follow_up, follow_up_at,
    case when reason is null then follow_up - baseline end as change,
    case when reason is null then (follow_up - baseline) / baseline end as relative_change,
    n_baseline, n_follow_up, reason, arm, modality, charge_pc_28d, on_ms_28d,
    case when days_active > 0 then least(coalesce(covered_days, 0) / least(28, days_active), 1) end as coverage_28d,
    case when on_ms_28d is not null then 'association only: the dose is what a patient tolerates' end as caution
from compared
order by patient_key, measure, visit
