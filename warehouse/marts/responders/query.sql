-- Responders: one row per patient, instrument, subscale and visit window, for every score a patient was ever asked for.
-- Only scores where a fall is an improvement (instruments.higher_is_worse) are classed; others have no published definition here.
-- 1. baseline   = last scorable score in [index - 30 d, index]; of two at the same instant the larger response key
-- 2. follow-up  = scorable score nearest to the target day of the visit window, both ends included:
--                 m3 91 +- 30 d, m6 182 +- 45 d, m9 274 +- 45 d, m12 365 +- 45 d; equally near: the later, then the larger key
-- 3. undetermined, with the first reason that holds: no_index, no_baseline, baseline_zero (a share of nothing), no_follow_up
-- 4. response   = at least 50 % below baseline (exactly 50 % counts), compared without division: 2 (b - f) >= b
--    partial    = at least 30 % below; a response is also a partial response
-- 5. remission  = follow-up past the published cut of the instrument (PHQ-9 and GAD-7: below 5), with or without a response
-- 6. outcome    = remission if remitted and responded, else response, partial, none
-- The drop is a share of the score as it is, not of its distance from the scale's minimum: DERS-36 starts at 36, so halving a
-- DERS-36 of 70 is impossible. This is the plain definition the trials use; it makes response on the DERS hard by construction.
-- The dose is that of the 28 days before the follow-up, null where that window is not configured.
-- Days are 86,400 s: a calendar day of a time zone would move the window's edge with the clocks.
-- Reference: Kumar 2019 (response); RECOVER protocol (partial); Kroenke 2001, Spitzer 2006 (cuts); Berry 2013 (baseline).
with visits (visit, target_us, tolerance_us) as (
    select visit, target_d * 86400000000, tolerance_d * 86400000000
    from (values ('m3', 91, 30), ('m6', 182, 45), ('m9', 274, 45), ('m12', 365, 45)) as window_days (visit, target_d, tolerance_d)
),

asked as (
    select distinct s.patient_key, s.instrument, s.subscale, i.remission_comparison, i.remission_value
    from scores as s
    inner join instruments as i on i.instrument = s.instrument and i.subscale = s.subscale and i.higher_is_worse
),

scored as (
    select s.patient_key, s.instrument, s.subscale, s.response_key, s.score,
        epoch_us(s.completed_at) - epoch_us(p.index_at) as after_us
    from scores as s
    inner join patients as p on p.patient_key = s.patient_key
    where s.score is not null and p.index_at is not null
),

baselines as (
    select patient_key, instrument, subscale, score as baseline
    from scored
    where after_us between -30 * 86400000000 and 0
    qualify row_number() over (
        partition by patient_key, instrument, subscale order by after_us desc, response_key desc
    ) = 1
),

follow_ups as (
    select s.patient_key, s.instrument, s.subscale, v.visit, s.response_key, s.score as follow_up
    from scored as s
    inner join visits as v on s.after_us between v.target_us - v.tolerance_us and v.target_us + v.tolerance_us
    qualify row_number() over (
        partition by s.patient_key, s.instrument, s.subscale, v.visit
        order by abs(s.after_us - v.target_us), s.after_us desc, s.response_key desc
    ) = 1
),

compared as (
    select a.patient_key, a.instrument, a.subscale, v.visit, b.baseline, f.follow_up, p.arm, p.modality,
        d.charge_pc_28d, d.coverage_28d,
        case
            when p.index_at is null then 'no_index'
            when b.baseline is null then 'no_baseline'
            when b.baseline = 0 then 'baseline_zero'
            when f.follow_up is null then 'no_follow_up'
        end as reason,
        case a.remission_comparison
            when 'below' then f.follow_up < a.remission_value
            when 'at_most' then f.follow_up <= a.remission_value
        end as remitted
    from asked as a
    cross join visits as v
    inner join patients as p on p.patient_key = a.patient_key
    left join baselines as b on b.patient_key = a.patient_key and b.instrument = a.instrument and b.subscale = a.subscale
    left join follow_ups as f
        on f.patient_key = a.patient_key and f.instrument = a.instrument and f.subscale = a.subscale and f.visit = v.visit
    left join dose_28d as d on d.response_key = f.response_key and d.subscale = f.subscale
),

classed as (
    select *,
        case when reason is null then 2 * (baseline - follow_up) >= baseline end as responded,
        case when reason is null then 10 * (baseline - follow_up) >= 3 * baseline end as partial
    from compared
)

select patient_key, instrument, subscale, visit, 'drop_50' as definition, baseline, follow_up,
    follow_up - baseline as change,
    case when baseline > 0 then (baseline - follow_up) / baseline end as relative_drop,
    case
        when reason is not null then 'undetermined'
        when remitted and responded then 'remission'
        when responded then 'response'
        when partial then 'partial'
        else 'none'
    end as outcome,
    responded, partial, remitted, reason, arm, modality, charge_pc_28d, coverage_28d
from classed
