-- Heterogeneity and p-values of the comparisons of 2_counted.
-- 1. heterogeneity = breslow_day() with Tarone's correction for every group at once, from the same pieces: over the strata of a group
--    in which both arms and both outcomes occur; null with fewer than two of them or without a finite pooled odds ratio above 0.
--    Sums are over ordered lists, so that two builds agree to the last digit.
-- 2. p-values      = chi-square without correction, Fisher exact when an expected cell is below 5
-- 3. adjusted      = Benjamini-Hochberg over the family: every stratum but all, of all stratifiers, of one arm, outcome and method
-- Reference: Breslow and Day 1980, Statistical Methods in Cancer Research I, ch. 4; Tarone 1985; Benjamini and Hochberg 1995.
create temp table heterogeneity as
with informative as (
    select *, (n1 + n2)::double as n, (k1 + k2)::double as m
    from tested
    where n1 > 0 and n2 > 0 and k1 + k2 > 0 and k1 + k2 < n1 + n2
),

pooled as (
    select stratifier, tested_group, outcome_id, method, arm,
        list_sum(list(k1 * (n2 - k2) / n order by stratum)) / nullif(list_sum(list((n1 - k1) * k2 / n order by stratum)), 0) as psi
    from informative
    group by stratifier, tested_group, outcome_id, method, arm
    having count(*) >= 2
),

fitted as (
    select i.*, fitted_successes(i.n1::double, i.n2::double, i.m, nullif(p.psi, 0)) as f,
        1 / (1 / f + 1 / (i.m - f) + 1 / (i.n1 - f) + 1 / (i.n2 - i.m + f)) as variance
    from informative as i
    inner join pooled as p
        on p.stratifier = i.stratifier and p.tested_group = i.tested_group and p.outcome_id = i.outcome_id and p.method = i.method
        and p.arm = i.arm
),

summed as (
    select stratifier, tested_group, outcome_id, method, arm, count(*) - 1 as df,
        list_sum(list((k1 - f) * (k1 - f) / variance order by stratum)) as plain,
        list_sum(list(k1 - f order by stratum)) as off, list_sum(list(variance order by stratum)) as spread
    from fitted
    group by stratifier, tested_group, outcome_id, method, arm
    having count(variance) = count(*)
)

select *, plain - off * off / spread as statistic, chi_square_tail(plain - off * off / spread, df) as p
from summed;

create temp table tests as
select *, case
    when least(k1 + k2, n1 + n2 - k1 - k2) * least(n1, n2) < 5 * (n1 + n2) then fisher_exact(k1, n1, k2, n2)
    else chi_square(k1, n1, k2, n2).p
end as p
from arm_pairs
where n1 > 0 and n2 > 0;

create temp table adjusted as
with families as (
    select arm, outcome_id, method, list(stratum_id order by stratum_id) as members,
        benjamini_hochberg(list(p order by stratum_id)) as adjusted
    from tests
    where stratifier <> 'all' and p is not null
    group by arm, outcome_id, method
)

select arm, outcome_id, method, unnest(members) as stratum_id, unnest(adjusted) as p_adjusted
from families;
