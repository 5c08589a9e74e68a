-- mantel_haenszel('t', level := 0.95): one effect over the strata of a table (stratum, k1, n1, k2, n2), as one row:
-- odds_ratio, risk_ratio, risk_difference as {estimate, low, high}; cmh as {statistic, p}; strata and n that it rests on.
-- 1. a = k1, b = n1 - k1, c = k2, d = n2 - k2, n = n1 + n2, m = k1 + k2, per stratum; strata with an empty group say nothing: left out
-- 2. odds_ratio = sum(a d / n) / sum(b c / n), with the variance of its logarithm by Robins, Breslow and Greenland
-- 3. risk_ratio = sum(a n2 / n) / sum(c n1 / n), with the variance of its logarithm by Greenland and Robins
-- 4. risk_difference = sum((a n2 - c n1) / n) / sum(n1 n2 / n), with the variance by Sato, good for many small strata, too
-- 5. cmh: (sum(a - n1 m / n))^2 / sum(n1 n2 m (n - m) / (n^2 (n - 1))), one degree of freedom, no continuity correction
-- A ratio is null where its denominator is 0, its interval where either sum is. Rows that are no table (k above n, nulls) are errors,
-- as are two rows of one stratum: mostly a filter is missing. Strata without a name are one stratum.
-- Reference: Mantel and Haenszel 1959; Robins, Breslow and Greenland 1986; Greenland and Robins 1985; Sato 1989.
create macro fourfold(t, asked) as table
with given as (
    select k1::double as a, n1::double as one, k2::double as c, n2::double as two, count(*) over (partition by stratum) as times
    from query_table(t)
)

select a, one - a as b, c, two - c as d, one as n1, two as n2, one + two as n, a + c as m
from given
where case
    when times > 1
        then error(asked || ': a stratum stands in two rows; one row per stratum is needed: filter the table, or sum its k and n')
    when (is_share(a, one) or a = 0 and one = 0) and (is_share(c, two) or c = 0 and two = 0) then one > 0 and two > 0
    else error(asked || ': a row is no fourfold table; k1 of n1 and k2 of n2 with 0 <= k <= n, none of them null, are needed') end;
comment on macro table fourfold is 'The strata of a table (stratum, k1, n1, k2, n2) as cells a, b, c, d; strata with an empty group are left out.';

create macro pooled_log_odds_variance(pr, ps, qr, qs, r, s) as pr / (2e0 * r * r) + (ps + qr) / (2e0 * r * s) + qs / (2e0 * s * s);
comment on macro pooled_log_odds_variance is 'Robins, Breslow and Greenland.';

create macro mantel_haenszel(t, level := 0.95) as table
with sums as (
    select count(*) as strata, sum(n) as n, sum(a * d / n) as r, sum(b * c / n) as s, sum((a + d) / n * a * d / n) as pr,
        sum((a + d) / n * b * c / n) as ps, sum((b + c) / n * a * d / n) as qr, sum((b + c) / n * b * c / n) as qs,
        sum(a * n2 / n) as up, sum(c * n1 / n) as down, sum((n1 * n2 * m - a * c * n) / n / n) as spread, sum(n1 * n2 / n) as weight,
        sum((n1 * n1 * c - n2 * n2 * a + n1 * n2 * (n2 - n1) / 2) / n / n) as sato_p, sum((a * d + c * b) / (2e0 * n)) as sato_q,
        sum(a - n1 * m / n) as distance, sum(case when n > 1 then n1 * n2 * m * (n - m) / (n * n * (n - 1)) end) as variance,
        table_z(level, 'mantel_haenszel') as z
    from fourfold(t, 'mantel_haenszel')
),

effects as (
    select *, (up - down) / weight as difference, sqrt((difference * sato_p + sato_q) / weight / weight) as difference_error
    from sums
)

select
    ratio_interval(r / nullif(s, 0), case when r > 0 and s > 0 then sqrt(pooled_log_odds_variance(pr, ps, qr, qs, r, s)) end, z) as odds_ratio,
    ratio_interval(up / nullif(down, 0), case when up > 0 and down > 0 then sqrt(spread / up / down) end, z) as risk_ratio,
    difference_interval(difference, difference_error, z) as risk_difference,
    case when variance > 0 then {'statistic': distance * distance / variance, 'p': chi_square_tail(distance * distance / variance, 1)} end as cmh,
    strata, n::bigint as n
from effects;
comment on macro table mantel_haenszel is 'Pooled odds ratio, risk ratio, risk difference and CMH test over a table (stratum, k1, n1, k2, n2).';

-- given: create table hospitals as from (values ('a', 61, 97, 23, 59), ('b', 205, 328, 108, 271)) as t (stratum, k1, n1, k2, n2)
-- given: create table one_hospital as from hospitals where stratum = 'a'
-- assert: (select abs(odds_ratio.estimate - 2.541839) < 5e-7 and strata = 2 and n = 755 from mantel_haenszel('hospitals'))
-- assert: (select abs(odds_ratio.estimate - 2.652174) < 5e-7 and abs(odds_ratio.low - 1.362730) < 5e-7 from mantel_haenszel('one_hospital'))
-- assert: (select abs(risk_ratio.estimate - 1.613178) < 5e-7 and abs(risk_ratio.high - 2.298275) < 5e-7 from mantel_haenszel('one_hospital'))
-- assert: (select abs(risk_difference.estimate - 0.239035) < 5e-7 from mantel_haenszel('one_hospital'))
-- assert: (select abs(cmh.statistic - 8.43454 * 155 / 156) < 5e-6 from mantel_haenszel('one_hospital'))
