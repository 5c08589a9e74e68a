-- Responders: one row per patient, score, visit and definition of an outcome; what a definition means is in `outcome_definitions`.
-- 1. Who is judged: every patient and score ever asked for, where the definition applies to it (scores). Baseline, follow-up and what is
--    carried forward: 1_scored.sql and 2_compared.sql. The rules: 4_drops.sql, 5_over_time.sql, 6_joint.sql.
-- 2. responded (observed case) = the rule on what was seen at the visit; undetermined, with the first reason that holds: no_index,
--    baseline_after_activation or no_baseline, baseline_zero (a share of nothing), not_a_case, never_responded, no_follow_up
-- 3. responded_locf = the rule on the follow-up, else on the last score after the index date before it
-- 4. responded_nri  = as observed; who has a usable baseline and no follow-up has not responded
-- 5. outcome        = class within the definition: for drop_50 remission if remitted and responded, else response, partial, none
-- The drop is a share of the score as it is, not of its distance from the scale's minimum: DERS-36 starts at 36, so halving a
-- DERS-36 of 70 is impossible. This is the plain definition the trials use; it makes response on the DERS hard by construction.
-- Days are 86,400 s: a calendar day of a time zone would move the window's edge with the clocks.
-- Reference: Kumar 2019 (response, retained); RECOVER 2025 (partial, time in response); Jacobson and Truax 1991; NHS Talking Therapies
-- manual; Kroenke 2001, Spitzer 2006 (cuts); Berry 2013 (baseline).
with judged as (
    select * from drops
    union all by name
    select * from remissions
    union all by name
    select * from changes
    union all by name
    select * from importances
    union all by name
    select * from ratings
    union all by name
    select * from first_responses
    union all by name
    select * from retentions
    union all by name
    select * exclude (n, in_response_us, seen_us, period_us),
        case when n >= 1 and observed is null then 'too_few_assessments' end as late_reason,
        case when observed is not null then in_response_us / seen_us end as share_of_time
    from times
    union all by name
    select * from recoveries
    union all by name
    select * from triples
),

reasoned as (
    select *, coalesce(unusable, case when observed is null then coalesce(late_reason, 'no_follow_up') end) as reason
    from judged
),

described as (
    select j.*, coalesce(j.instrument, c.instrument) as named, coalesce(c.subscale, 'total') as part, c.higher_is_worse,
        c.remission_comparison, c.remission_value
    from reasoned as j
    left join scales as c on c.scale = j.scale
),

banded as (  -- the last band whose lower end a baseline reaches
    select c.scale, b.band, b.from_score, lead(b.from_score, 1, 1e9) over (partition by c.scale order by b.from_score) as to_score
    from severity_bands as b
    inner join scales as c on c.instrument = b.instrument and c.subscale = b.subscale
)

select p.patient_key, d.named as instrument, d.part as subscale, d.visit, d.definition, d.baseline, d.follow_up,
    d.follow_up - d.baseline as change, b.band as baseline_band,
    case when d.baseline > 0 then (d.baseline - d.follow_up) / d.baseline end as relative_drop,
    case when d.reason is null then d.called else 'undetermined' end as outcome,
    case when d.reason is null then d.observed end as responded,
    case when d.unusable is null then d.carried end as responded_locf,
    case when d.unusable is null then coalesce(d.imputed, d.observed, false) end as responded_nri,
    case when d.reason is null and d.higher_is_worse and d.baseline > 0
        then has_dropped(d.baseline, d.follow_up, definition_parameter('drop_30', 'drop_percent')) end as partial,
    is_past(d.follow_up, d.remission_comparison, d.remission_value) as remitted,
    d.reason, d.share_of_time, p.arm, p.modality, d.charge_pc_28d, d.on_ms_28d, d.coverage_28d
from described as d
inner join people as p on p.patient = d.patient
left join banded as b on b.scale = d.scale and d.baseline >= b.from_score and d.baseline < b.to_score
