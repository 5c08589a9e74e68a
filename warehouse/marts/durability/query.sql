-- Durability: how long until a response, and from it until it is lost. One row per patient, primary score and definition, ready for
-- kaplan_meier, which takes (time_d, event).
-- 1. first_response: from the index date to the first assessment with a drop of at least 50 %; without one censored at the last
-- 2. retained_40: from the first response to the first later assessment with a drop below 40 %; without one censored at the last, at 0
--    days when the response was the last thing seen
-- 3. Without a time the reason says why: no_index, baseline_after_activation, no_baseline, baseline_zero, no_follow_up (also of a
--    patient seen only before the index date: time is never negative), never_responded (retained_40)
-- An event is dated by the assessment that showed it; it happened at some time since the one before (interval censoring).
-- 4. caution: arms are decided at the landmark, so what ended before it is attributed with hindsight (immortal time); the rest is
--    confounded by indication: nobody was randomised, and dose is raised because of non-response.
-- Reference: Kumar 2019 and McAllister-Williams 2020 (first response, loss below 40 %); Anderson 1983 (landmark).
with followed as (
    select a.patient, a.scale, a.baseline, k.first_us, k.loss_us, k.last_us, coalesce(k.n, 0) as n,
        case
            when a.index_us is null then 'no_index'
            when a.baseline is null and a.late_baseline then 'baseline_after_activation'
            when a.baseline is null then 'no_baseline'
            when a.baseline = 0 then 'baseline_zero'
            when k.last_us is null then 'no_follow_up'
        end as why
    from asked as a
    inner join scales as c on c.scale = a.scale and c.is_primary and c.higher_is_worse
    left join courses as k on k.patient = a.patient and k.scale = a.scale
),

timed as (
    select patient, scale, 'first_response' as definition, baseline, n, why as reason, 0 as from_us,
        coalesce(first_us, last_us) as until_us, first_us is not null as happened
    from followed
    union all by name
    select patient, scale, 'retained_40' as definition, baseline, n,
        coalesce(why, case when first_us is null then 'never_responded' end) as reason, first_us as from_us,
        coalesce(loss_us, last_us) as until_us, loss_us is not null as happened
    from followed
)

select p.patient_key, c.instrument, c.subscale, t.definition, t.baseline,
    case when t.reason is null then t.from_us / 86400000000 end as from_d,
    case when t.reason is null then (t.until_us - t.from_us) / 86400000000 end as time_d,
    case when t.reason is null then t.happened end as event,
    t.n as n_assessments, t.reason, p.arm, p.modality,
    case when t.reason is null then t.until_us < w.to_us end as before_landmark,
    case when t.reason is null and t.until_us < w.to_us then 'immortal time' else 'confounded by indication' end as caution
from timed as t
inner join people as p on p.patient = t.patient
inner join scales as c on c.scale = t.scale
cross join (from windows where kind = 'landmark') as w
