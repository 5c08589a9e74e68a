-- Synergy: whether VNS and CBT together do more than the sum of what each does alone; from the counts of `strata`.
-- 1. Four arms, decided at the landmark and never with hindsight: vns, cbt, both (vns_cbt), neither; k, n, rate, Wilson interval of each
-- 2. interaction = p(both) - p(vns) - p(cbt) + p(neither), on the additive scale, with a score interval (interaction_contrast)
-- 3. interaction_p: Wald with half a responder and half a non-responder added to each arm. Without them an arm of two patients who
--    answered alike has no spread, and a world without effects had p-values of 1e-13 beside an interval that held 0.
--    Two methods: near 0.05 they may disagree, and then the interval counts, which holds its level better in small arms.
-- 4. reason: the first arm in which nobody is determined; then there is no contrast
-- No large trial of VNS with CBT exists: cells are sparse, and nobody was drawn by lot. An association.
-- Reference: Rothman, Greenland and Lash, Modern Epidemiology, ch. 5; Zou and Donner 2008; Price and Bonett 2004 (the halves); CBT strata:
-- Hallion 2018.
with arms as (
    select stratifier, stratum, instrument, subscale, visit, definition, method,
        sum(n) filter (arm = 'vns') as n_vns, sum(k) filter (arm = 'vns') as k_vns,
        sum(n) filter (arm = 'cbt') as n_cbt, sum(k) filter (arm = 'cbt') as k_cbt,
        sum(n) filter (arm = 'vns_cbt') as n_both, sum(k) filter (arm = 'vns_cbt') as k_both,
        sum(n) filter (arm = 'neither') as n_neither, sum(k) filter (arm = 'neither') as k_neither,
        any_value(n) filter (arm = 'all') as n, any_value(k) filter (arm = 'all') as k,
        any_value(coverage) filter (arm = 'all') as coverage,
        any_value(caution) filter (arm in ('vns', 'vns_cbt')) as caution
    from strata
    group by stratifier, stratum, instrument, subscale, visit, definition, method
),

counted as (
    select * replace (
        coalesce(n_vns, 0)::bigint as n_vns, coalesce(k_vns, 0)::bigint as k_vns,
        coalesce(n_cbt, 0)::bigint as n_cbt, coalesce(k_cbt, 0)::bigint as k_cbt,
        coalesce(n_both, 0)::bigint as n_both, coalesce(k_both, 0)::bigint as k_both,
        coalesce(n_neither, 0)::bigint as n_neither, coalesce(k_neither, 0)::bigint as k_neither
    )
    from arms
),

contrasted as (
    select *, interaction_contrast(k_both, n_both, k_vns, n_vns, k_cbt, n_cbt, k_neither, n_neither) as contrast,
        case when least(n_both, n_vns, n_cbt, n_neither) > 0 then
            contrast_estimate(
                k_both + 0.5, n_both + 1, k_vns + 0.5, n_vns + 1, k_cbt + 0.5, n_cbt + 1, k_neither + 0.5, n_neither + 1
            ) / sqrt(
                pow(risk_difference_error(k_both + 0.5, n_both + 1, k_vns + 0.5, n_vns + 1), 2)
                + pow(risk_difference_error(k_cbt + 0.5, n_cbt + 1, k_neither + 0.5, n_neither + 1), 2)
            )
        end as z,
        wilson(k_vns, n_vns) as vns, wilson(k_cbt, n_cbt) as cbt, wilson(k_both, n_both) as both_, wilson(k_neither, n_neither) as neither
    from counted
)

select stratifier, stratum, instrument, subscale, visit, definition, method, n, k,
    n_vns, k_vns, vns.estimate as rate_vns, vns.low as low_vns, vns.high as high_vns,
    n_cbt, k_cbt, cbt.estimate as rate_cbt, cbt.low as low_cbt, cbt.high as high_cbt,
    n_both, k_both, both_.estimate as rate_both, both_.low as low_both, both_.high as high_both,
    n_neither, k_neither, neither.estimate as rate_neither, neither.low as low_neither, neither.high as high_neither,
    contrast.estimate as interaction, contrast.low as interaction_low, contrast.high as interaction_high,
    two_sided_p(z) as interaction_p,
    coverage,
    case
        when n_vns = 0 then 'no_vns' when n_cbt = 0 then 'no_cbt' when n_both = 0 then 'no_both' when n_neither = 0 then 'no_neither'
    end as reason,
    concat_ws('; ', 'confounded by indication',
        case when contains(caution, 'immortal time') then 'immortal time' end,
        case when contains(caution, 'unequal follow-up') then 'unequal follow-up' end,
        case when contains(caution, 'scale does not start at 0') then 'scale does not start at 0' end,
        case when stratifier = 'disorder' then 'overlapping strata' end,
        case when least(k_vns, n_vns - k_vns, k_cbt, n_cbt - k_cbt, k_both, n_both - k_both, k_neither, n_neither - k_neither) < 5
            then 'small cells' end
    ) as caution
from contrasted
order by stratifier, stratum, instrument, subscale, visit, definition, method
