-- Definitions that judge one score at a visit: drop_50, drop_30, remission, reliable_change.
-- 1. drop: 100 (b - f) >= percent b, compared without division; a billionth of slack, so that a drop of exactly half counts where the
--    scores are prorated. baseline_zero: a share of nothing. Only where a fall is an improvement.
-- 2. remission: past the published cut, among those whose baseline was not past it (else not_a_case: there is nothing to remit)
-- 3. reliable_change: better = reliably, by more than z sqrt(2 (1 - reliability)) sd; recovered and harmed also cross the cut-off, being
--    strictly on either side of it; without a cut-off there are only improved, unchanged and deteriorated
-- The same rule is applied to the follow-up (observed) and to what is carried (locf).
create temp macro has_dropped(baseline, score, percent) as 100 * (baseline - score) >= percent * baseline - 1e-9;
create temp macro is_past(score, comparison, cut) as case comparison when 'below' then score < cut when 'at_most' then score <= cut end;
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
    select m.*, case when c.higher_is_worse then -1 else 1 end as sign, c.cutoff,
        definition_parameter('reliable_change', 'z') * sqrt(2 * (1 - c.reliability)) * c.sd as limit_
    from compared as m
    inner join scales as c on c.scale = m.scale and c.sd > 0 and c.reliability >= 0 and c.reliability < 1
)

select patient, scale, visit, 'reliable_change' as definition, baseline, follow_up, base_reason as unusable,
    sign * (follow_up - baseline) > limit_ as observed,
    sign * (carried - baseline) > limit_ as carried,
    change_called(sign * (follow_up - baseline), limit_, sign * (baseline - cutoff), sign * (follow_up - cutoff)) as called,
    charge_pc_28d, on_ms_28d, coverage_28d
from measured;
