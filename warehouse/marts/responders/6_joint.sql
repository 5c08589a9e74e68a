-- Definitions that judge several scores together: nhs_recovery and tripartite. One row per patient and visit who was asked for them.
-- 1. nhs_recovery, on the totals of PHQ-9 and GAD-7. A case is at or above the caseness of either before (else not_a_case) and below
--    both after; reliably better on one of them, reliably worse on neither. Both scores are needed before and after.
-- 2. tripartite: a domain has a benefit when any of its scores is better by what `benefits` says, none when one is known and none is.
--    Met with benefits in at least two domains, missed when the unknown ones could not make two; else undetermined.
create temp view paired as
with phq as (select m.* from compared as m inner join scales as c on c.scale = m.scale and c.instrument = 'PHQ-9' and c.subscale = 'total'),
gad as (select m.* from compared as m inner join scales as c on c.scale = m.scale and c.instrument = 'GAD-7' and c.subscale = 'total'),
limits as (
    select any_value(nhs_caseness) filter (instrument = 'PHQ-9') as phq_case, any_value(nhs_reliable) filter (instrument = 'PHQ-9') as phq_reliable,
        any_value(nhs_caseness) filter (instrument = 'GAD-7') as gad_case, any_value(nhs_reliable) filter (instrument = 'GAD-7') as gad_reliable
    from scales
    where subscale = 'total'
)

select p.patient, p.visit, coalesce(p.base_reason, g.base_reason) as base_reason,
    p.baseline >= l.phq_case or g.baseline >= l.gad_case as is_case,
    p.follow_up < l.phq_case and g.follow_up < l.gad_case as recovered,
    p.baseline - p.follow_up >= l.phq_reliable or g.baseline - g.follow_up >= l.gad_reliable as better,
    p.follow_up - p.baseline >= l.phq_reliable or g.follow_up - g.baseline >= l.gad_reliable as worse,
    p.follow_up is not null and g.follow_up is not null as is_seen, p.carried is not null and g.carried is not null as is_carried,
    p.carried < l.phq_case and g.carried < l.gad_case
        and (p.baseline - p.carried >= l.phq_reliable or g.baseline - g.carried >= l.gad_reliable)
        and not (p.carried - p.baseline >= l.phq_reliable or g.carried - g.baseline >= l.gad_reliable) as carried,
    p.charge_pc_28d, p.on_ms_28d, p.coverage_28d
from phq as p
inner join gad as g on g.patient = p.patient and g.visit = p.visit
cross join limits as l;

create temp view recoveries as
select patient, 'PHQ-9+GAD-7' as instrument, visit, 'nhs_recovery' as definition,
    coalesce(base_reason, case when not is_case then 'not_a_case' end) as unusable,
    case when is_seen then recovered and better and not worse end as observed,
    case when is_carried then carried end as carried,
    case
        when observed then 'reliable_recovery'
        when recovered then 'recovery'
        when better and not worse then 'improved'
        when worse then 'deteriorated'
        else 'unchanged'
    end as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from paired;

create temp view triples as
with benefited as (
    select m.patient, m.visit, b.domain,
        bool_or(is_benefit(b.unit, b.value, case when c.higher_is_worse then -1 else 1 end, m.baseline, m.follow_up)) as observed,
        bool_or(is_benefit(b.unit, b.value, case when c.higher_is_worse then -1 else 1 end, m.baseline, m.carried)) as carried,
        min(case
            when m.base_reason = 'no_index' then 1 when m.base_reason = 'no_baseline' then 2 when m.base_reason is not null then 3
            when b.unit = 'percent' and m.baseline = 0 then 4 else 5
        end) as why, max(m.base_reason is null and not (b.unit = 'percent' and m.baseline = 0)) as is_usable
    from compared as m
    inner join scales as c on c.scale = m.scale
    inner join benefits as b on b.instrument = c.instrument and b.subscale = c.subscale
    group by m.patient, m.visit, b.domain
),

counted as (
    select patient, visit, any_value(d.parameters['least_domains']) as least, count(*) as n,
        count(*) filter (observed) as observed_yes, count(*) filter (observed is null) as observed_unknown,
        count(*) filter (carried) as carried_yes, count(*) filter (carried is null) as carried_unknown,
        count(*) filter (observed is null and not is_usable) as never_known, min(why) filter (observed is null) as why
    from benefited
    cross join (from outcome_definitions where definition = 'tripartite') as d
    group by patient, visit
)

select patient, 'symptoms+function+quality_of_life' as instrument, visit, 'tripartite' as definition,
    case
        when observed_yes >= least or observed_yes + never_known < least then null
        when never_known > 0 then ['no_index', 'no_baseline', 'baseline_after_activation', 'baseline_zero', 'no_follow_up'][why]
    end as unusable,
    case when observed_yes >= least then true when observed_yes + observed_unknown < least then false end as observed,
    case when carried_yes >= least then true when carried_yes + carried_unknown < least then false end as carried,
    case when observed then 'benefit' else 'none' end as called
from counted
where n >= least;
