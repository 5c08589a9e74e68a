-- Definitions that judge the course of a primary score: first_response, retained_40, sustained, percent_time.
-- 1. first_response: responded at any assessment by the end of the visit window. Determined as soon as there is one assessment: were
--    only those seen at the visit counted as non-responders, a dropout would raise the rate.
-- 2. retained_40: among those who responded by then (else never_responded), kept at every assessment since, up to the follow-up
-- 3. sustained: 1 and 2 at 12 months, over everybody with a baseline; never responded is not sustained
-- 4. percent_time: share of the assessed time of the period in response; nri takes time nobody assessed for time without response
-- "By then" is by the follow-up (observed), or by the last assessment where the visit has none (locf).
create temp view coursed as
select m.*, k.first_us, k.first_score, k.loss_us,
    coalesce(m.base_reason, case when m.baseline = 0 then 'baseline_zero' end) as unusable,
    coalesce(k.first_us <= m.to_us, false) as has_responded,
    coalesce(k.first_us <= m.carried_us, false) as responded_by_then,
    responded_by_then and coalesce(k.loss_us > m.carried_us, true) as is_retained
from compared as m
inner join scales as c on c.scale = m.scale and c.is_primary and c.higher_is_worse
left join courses as k on k.patient = m.patient and k.scale = m.scale;

create temp view first_responses as
select patient, scale, visit, 'first_response' as definition, baseline,
    case when has_responded then first_score else last_score end as follow_up, unusable,
    case when last_us is not null then has_responded end as observed,
    observed as carried,
    case when observed then 'response' else 'none' end as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from coursed;

create temp view retentions as
select patient, scale, visit, 'retained_40' as definition, baseline, follow_up,
    coalesce(unusable, case when carried_us is not null and not responded_by_then then 'never_responded' end) as unusable,
    case when follow_up is not null then is_retained end as observed,
    case when carried_us is not null then is_retained end as carried,
    case when observed then 'retained' else 'lost' end as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from coursed
union all
select patient, scale, visit, 'sustained' as definition, baseline, follow_up, unusable,
    case when follow_up is not null then is_retained end as observed,
    case when carried_us is not null then is_retained end as carried,
    case when observed then 'retained' when responded_by_then then 'lost' else 'never' end as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from coursed
where visit = 'm12';

create temp view times as
select a.patient, a.scale, w.visit, 'percent_time' as definition, a.baseline, s.last_score as follow_up,
    case
        when a.index_us is null then 'no_index'
        when a.baseline is null and a.late_baseline then 'baseline_after_activation'
        when a.baseline is null then 'no_baseline'
        when a.baseline = 0 then 'baseline_zero'
    end as unusable,
    s.n, s.in_response_us, s.seen_us, s.period_us,
    case when s.n >= d.parameters['least_assessments'] then 100 * s.in_response_us >= d.parameters['share_percent'] * s.seen_us end as observed,
    100 * s.carried_us >= d.parameters['share_percent'] * s.period_us as carried,
    coalesce(100 * s.in_response_us >= d.parameters['share_percent'] * s.period_us, false) as imputed,
    case when observed then 'response' else 'none' end as called
from asked as a
inner join scales as c on c.scale = a.scale and c.is_primary and c.higher_is_worse
cross join (from windows where kind = 'period') as w
inner join outcome_definitions as d on d.definition = 'percent_time'
left join spells as s on s.patient = a.patient and s.scale = a.scale and s.visit = w.visit;
