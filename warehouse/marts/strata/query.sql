-- Strata: how many respond, by disorder, history and other strata, in each arm; VNS against no VNS; for every outcome and method.
-- 1. Strata: 1_memberships.sql. The arm is the one at the landmark, never with hindsight; every stratum also has all arms together.
-- 2. n = patients whose outcome the method determines, k = responders among them (2_counted.sql). observed: seen at the visit;
--    locf: last observation carried forward; nri: who was not seen has not responded. The three stand side by side.
-- 3. rate = k / n with its 95 % Wilson interval; null when n is 0
-- 4. vns is compared with neither, vns_cbt with cbt: risk difference (Newcombe), odds ratio (Woolf), p-value (3_compared.sql).
--    They are different methods, which may disagree near 0.05: p_adjusted says whether there is a difference, the interval how large it is
-- 5. heterogeneity of the odds ratio over the strata of a stratifier (history: of a flag; disorder: with and without it)
-- 6. reason, the first that holds: no_patients, no_comparator, no_event, no_non_event (then there is no odds ratio)
-- 7. caution: arms were not drawn by lot (who was sicker got VNS); immortal time when an outcome may lie before the landmark;
--    cumulative outcomes when arms are followed unequally; strata that overlap; a scale that does not start at 0 (whoever is low on it cannot
--    fall by half of it); cells of fewer than 5
-- Cells are as small as they are: suppress before anything leaves the site.
-- Reference: Wilson 1927; Newcombe 1998; Woolf 1955; strata as in Aaronson 2017, McAllister-Williams 2020 and RECOVER.
with looking_back as (
    select o.outcome_id,
        o.definition in ('first_response', 'retained_40', 'sustained') as is_cumulative,
        is_cumulative or w.from_d < (select target_d from visit_windows where kind = 'landmark') as is_before_landmark
    from outcome_names as o
    left join visit_windows as w on w.visit = o.visit
),

described as (
    select s.stratifier, s.stratum, c.*, t.comparator, t.k2, t.n2, p.p, a.p_adjusted, h.statistic, h.df, h.p as heterogeneity_p,
        o.instrument, o.subscale, o.visit, o.definition, o.has_floor, l.is_cumulative, l.is_before_landmark
    from counted as c
    inner join stratum_names as s on s.stratum_id = c.stratum_id
    inner join outcome_names as o on o.outcome_id = c.outcome_id
    inner join looking_back as l on l.outcome_id = c.outcome_id
    left join arm_pairs as t on t.stratum_id = c.stratum_id and t.outcome_id = c.outcome_id and t.method = c.method and t.arm = c.arm
    left join tests as p on p.stratum_id = c.stratum_id and p.outcome_id = c.outcome_id and p.method = c.method and p.arm = c.arm
    left join adjusted as a on a.stratum_id = c.stratum_id and a.outcome_id = c.outcome_id and a.method = c.method and a.arm = c.arm
    left join heterogeneity as h
        on h.stratifier = s.stratifier and h.tested_group = s.tested_group and h.outcome_id = c.outcome_id and h.method = c.method
        and h.arm = c.arm
),

estimated as (
    select *, wilson(k, n) as share, newcombe(k, n, k2, n2) as difference, odds_ratio(k, n, k2, n2) as odds
    from described
)

select stratifier, stratum, arm, instrument, subscale, visit, definition, method, n_patients, n, k,
    share.estimate as rate, share.low as low, share.high as high,
    n_patients - n as n_undetermined, k_remission, coverage,
    comparator, n2 as n_comparator, k2 as k_comparator,
    difference.estimate as risk_difference,
    difference.low as risk_difference_low,
    difference.high as risk_difference_high,
    odds.estimate as odds_ratio,
    odds.low as odds_ratio_low,
    odds.high as odds_ratio_high,
    p, p_adjusted, statistic as heterogeneity, df as heterogeneity_df, heterogeneity_p,
    case
        when n = 0 then 'no_patients'
        when comparator is null then null
        when n2 = 0 then 'no_comparator'
        when k + k2 = 0 then 'no_event'
        when k + k2 = n + n2 then 'no_non_event'
    end as reason,
    case when comparator is not null then concat_ws('; ', 'confounded by indication',
        case when is_before_landmark then 'immortal time' end,
        case when is_cumulative then 'unequal follow-up' end,
        case when stratifier = 'disorder' then 'overlapping strata' end,
        case when has_floor then 'scale does not start at 0' end,
        case when least(k, n - k, k2, n2 - k2) < 5 then 'small cells' end
    ) end as caution
from estimated
order by stratifier, stratum, instrument, subscale, visit, definition, method, arm
