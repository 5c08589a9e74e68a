-- Definitions that judge one score at a visit: drop_50, drop_30, remission, reliable_change, important_change, rated_response.
-- 1. drop: 100 (b - f) >= percent b, compared without division; a billionth of slack, so that a drop of exactly half counts where the
--    scores are prorated. baseline_zero: a share of nothing. Only where a fall is an improvement.
-- 2. remission: past the published cut, among those whose baseline was not past it (else not_a_case: there is nothing to remit)
-- 3. reliable_change: better = reliably, by more than z sqrt(2 (1 - reliability)) sd; recovered and harmed also cross the cut-off, being
--    strictly on either side of it (a published cut-off is ill itself, the end of a healthy range healthy); without a cut-off there are
--    only improved, unchanged and deteriorated. Where only a limit is published, better by at least that limit.
-- 4. important_change: better by at least the smallest change that matters to patients, by the file of the instrument
-- 5. rated_response: the rating itself says it; a rating of change has no baseline and needs none
-- The same rule is applied to the follow-up (observed) and to what is carried (locf).
create temp macro has_dropped(baseline, score, percent) as 100 * (baseline - score) >= percent * baseline - 1e-9;
create temp macro is_past(score, comparison, cut) as case comparison when 'below' then score < cut when 'at_most' then score <= cut
    when 'at_least' then score >= cut end;
create temp macro is_benefit(unit, value, sign, baseline, score) as case unit
    when 'points' then sign * (score - baseline) >= value - 1e-9
    when 'percent' then case when baseline > 0 then 100 * sign * (score - baseline) >= value * baseline - 1e-9 end
end;
create temp macro change_called(better, limit_, before, after) as case
    when better > limit_ and coalesce(before < 0 and after > 0, false) then 'recovered'
    when better > limit_ then 'improved'
    when -better > limit_ and coalesce(before > 0 and after < 0, false) then 'harmed'
    when -better > limit_ then 'deteriorated'
    when better is not null then 'unchanged'
end;

create temp view drops as
select m.patient, m.scale, m.visit, d.definition, m.baseline, m.follow_up,
    coalesce(m.base_reason, case when m.baseline = 0 then 'baseline_zero' end) as unusable,
    has_dropped(m.baseline, m.follow_up, d.percent) as observed,
    has_dropped(m.baseline, m.carried, d.percent) as carried,
    case
        when d.definition = 'drop_50' and observed and is_past(m.follow_up, c.remission_comparison, c.remission_value) then 'remission'
        when observed then 'response'
        when d.definition = 'drop_50' and has_dropped(m.baseline, m.follow_up, definition_parameter('drop_30', 'drop_percent')) then 'partial'
        else 'none'
    end as called,
    m.charge_pc_28d, m.on_ms_28d, m.coverage_28d
from compared as m
inner join scales as c on c.scale = m.scale and c.higher_is_worse
inner join (
    select definition, scores, parameters['drop_percent'] as percent from outcome_definitions where definition in ('drop_50', 'drop_30')
) as d on d.scores = 'all' or c.is_primary;

create temp view remissions as
select m.patient, m.scale, m.visit, 'remission' as definition, m.baseline, m.follow_up,
    coalesce(m.base_reason, case when is_past(m.baseline, c.remission_comparison, c.remission_value) then 'not_a_case' end) as unusable,
    is_past(m.follow_up, c.remission_comparison, c.remission_value) as observed,
    is_past(m.carried, c.remission_comparison, c.remission_value) as carried,
    case when observed then 'remission' else 'none' end as called,
    m.charge_pc_28d, m.on_ms_28d, m.coverage_28d
from compared as m
inner join scales as c on c.scale = m.scale and c.remission_value is not null;

create temp view changes as
with measured as (
    select m.*, case when c.higher_is_worse then -1 else 1 end as sign,
        c.cutoff + sign * case c.cutoff_method when 'published' then 1e-9 when 'healthy_end' then -1e-9 else 0 end as cutoff,
        coalesce(definition_parameter('reliable_change', 'z') * sqrt(2 * (1 - c.reliability)) * c.sd, c.reliable_points - 1e-9) as limit_
    from compared as m
    inner join scales as c
        on c.scale = m.scale and ((c.sd > 0 and c.reliability >= 0 and c.reliability < 1) or (c.sd is null and c.reliable_points > 0))
)

select patient, scale, visit, 'reliable_change' as definition, baseline, follow_up, base_reason as unusable,
    sign * (follow_up - baseline) > limit_ as observed,
    sign * (carried - baseline) > limit_ as carried,
    change_called(sign * (follow_up - baseline), limit_, sign * (baseline - cutoff), sign * (follow_up - cutoff)) as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from measured;

create temp view importances as
with measured as (
    select m.*, case when c.higher_is_worse then -1 else 1 end as sign, c.important_value as least, c.important_unit as unit
    from compared as m
    inner join scales as c on c.scale = m.scale and c.important_value is not null
)

select patient, scale, visit, 'important_change' as definition, baseline, follow_up,
    coalesce(base_reason, case when unit = 'percent' and baseline = 0 then 'baseline_zero' end) as unusable,
    is_benefit(unit, least, sign, baseline, follow_up) as observed,
    is_benefit(unit, least, sign, baseline, carried) as carried,
    case when observed then 'improved' when is_benefit(unit, least, -sign, baseline, follow_up) then 'deteriorated' else 'unchanged' end as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from measured;

create temp view ratings as
select m.patient, m.scale, m.visit, 'rated_response' as definition, null::double as baseline, m.follow_up,
    case when m.base_reason = 'no_index' then 'no_index' end as unusable,
    is_past(m.follow_up, c.rated_comparison, c.rated_value) as observed,
    is_past(m.carried, c.rated_comparison, c.rated_value) as carried,
    case when observed then 'response' else 'none' end as called,
    m.charge_pc_28d, m.on_ms_28d, m.coverage_28d
from compared as m
inner join scales as c on c.scale = m.scale and c.rated_value is not null;
