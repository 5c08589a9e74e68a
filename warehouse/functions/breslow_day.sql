-- breslow_day('t'): whether the odds ratios of the strata of a table (stratum, k1, n1, k2, n2) are one, as one row:
-- statistic, p (Breslow and Day), tarone_statistic, tarone_p (with Tarone's correction: the one to report), df, strata.
-- 1. psi = pooled odds ratio of Mantel and Haenszel; strata where a group is empty, or nobody or everybody succeeded, are left out
-- 2. fitted = the k1 that the margins of a stratum and psi give: fitted (n2 - m + fitted) = psi (n1 - fitted) (m - fitted)
-- 3. variance = 1 / (1/fitted + 1/(m - fitted) + 1/(n1 - fitted) + 1/(n2 - m + fitted))
-- 4. statistic = sum((k1 - fitted)^2 / variance); Tarone takes off sum(k1 - fitted)^2 / sum(variance); df = strata - 1
-- Nulls where psi is 0 or has no value, or with fewer than two strata.
-- Reference: Breslow and Day 1980, IARC Sci Publ 32; Tarone 1985, Biometrika 72:91.
create macro fitted_successes(n1, n2, m, psi) as list_transform([{'b': n2 - m + psi * (n1 + m), 'c': psi * n1 * m}],
    lambda q_: list_transform([sqrt(greatest(q_['b'] * q_['b'] + 4e0 * (1e0 - psi) * q_['c'], 0e0))], lambda root_:
        case when q_['b'] >= 0 then 2e0 * q_['c'] / (q_['b'] + root_) else (root_ - q_['b']) / (2e0 * (1e0 - psi)) end)[1])[1];
comment on macro fitted_successes is 'The k1 of a fourfold table with these margins whose odds ratio is psi.';

create macro breslow_day(t) as table
with cells as materialized (
    from fourfold(t, 'breslow_day')
),

pooled as (
    select nullif(sum(a * d / n), 0) / nullif(sum(b * c / n), 0) as psi
    from cells
),

fitted as (
    select a, n1, n2, m, fitted_successes(n1, n2, m, psi) as f
    from cells
    cross join pooled
    where m > 0 and m < n
),

spread as (
    select a - f as off, 1e0 / (1e0 / f + 1e0 / (m - f) + 1e0 / (n1 - f) + 1e0 / (n2 - m + f)) as variance
    from fitted
),

summed as (
    select count(*) as strata, sum(off * off / variance) as statistic, sum(off) as off, sum(variance) as variance
    from spread
    having count(*) > 1 and count(variance) = count(*)
)

select statistic, chi_square_tail(statistic, strata - 1) as p, statistic - off * off / variance as tarone_statistic,
    chi_square_tail(statistic - off * off / variance, strata - 1) as tarone_p, strata - 1 as df, strata
from (select 1) as one
left join summed on true;
comment on macro table breslow_day is 'Homogeneity of odds ratios over a table (stratum, k1, n1, k2, n2): Breslow-Day, and with Tarone''s correction.';

-- given: create table same_odds as from (values (1, 10, 20, 5, 15), (2, 20, 40, 10, 30)) as t (stratum, k1, n1, k2, n2)
-- given: create table other_odds as from (values (1, 18, 20, 5, 15), (2, 5, 40, 20, 30)) as t (stratum, k1, n1, k2, n2)
-- assert: (select abs(statistic) < 1e-12 and p = 1 and df = 1 from breslow_day('same_odds'))
-- assert: (select statistic > 20 and p < 1e-5 and tarone_statistic <= statistic from breslow_day('other_odds'))
-- assert: (select statistic is null and p is null from breslow_day('one_hospital'))
-- assert: abs(fitted_successes(20e0, 15e0, 15e0, 2e0) - 10) < 1e-12
