-- cochran_armitage('t'): trend of a share over the ordered groups of a table (score, k, n), as one row: z, p, k, n, groups.
-- 1. Scores count from the smallest of them, which changes nothing but keeps the digits of years and times.
--    p0 = sum(k) / sum(n); distance = sum(score (k - n p0)); variance = p0 (1 - p0) (sum(n score^2) - sum(n score)^2 / sum(n))
-- 2. z = distance / sqrt(variance), positive where the share rises with the score; p two-sided
-- Null where nobody or everybody succeeded, or all scores are the same. Rows of n = 0 say nothing; those that cannot be
-- (k above n, a null) are errors.
--
-- cochran_armitage_stratified('t'): the same within the strata of a table (stratum, score, k, n), pooled: z, p, k, n, strata.
-- 3. z = sum(distance) / sqrt(sum(variance)); with one stratum it is 1. A stratum without a trend to see adds nothing.
-- Association, not effect: where a dose is raised because of non-response, the trend is biased downwards.
-- Reference: Cochran 1954, Biometrics 10:417; Armitage 1955, Biometrics 11:375; Mantel 1963, JASA 58:690 (pooling over strata).
create macro trend_distance(score_k, score_n, k, n) as score_k::double - score_n::double * k / n;
comment on macro trend_distance is 'Numerator of the trend test from sum(score k), sum(score n), sum(k), sum(n).';

create macro trend_variance(score_n, score2_n, k, n) as
    greatest(k::double / n * (1e0 - k::double / n) * (score2_n::double - score_n::double * score_n / n), 0e0);
comment on macro trend_variance is 'Variance of the trend test from sum(score n), sum(score^2 n), sum(k), sum(n).';

create macro trend_z(distance, variance) as case when variance > 0 and variance < 'infinity'::double then distance / sqrt(variance) end;
comment on macro trend_z is 'z of a trend; null where there is none to see.';

create macro has_members(score, k, n, asked) as case
    when is_share(k, n) and isfinite(score) then true
    when k = 0 and n = 0 then false
    else error(asked || ': a row is no group; a finite score and k of n with 0 <= k <= n, none of them null, are needed') end;
comment on macro has_members is 'Whether a row (score, k, n) of doubles says something; an error when it cannot be.';

create macro cochran_armitage_stratified(t) as table
with groups as (
    select stratum, k::double as successes, n::double as patients, score::double - min(score::double) over (partition by stratum) as step
    from query_table(t)
    where has_members(score::double, k::double, n::double, 'cochran_armitage_stratified')
),

summed as (
    select sum(successes) as k, sum(patients) as n,
        trend_distance(sum(step * successes), sum(step * patients), sum(successes), sum(patients)) as distance,
        trend_variance(sum(step * patients), sum(step * step * patients), sum(successes), sum(patients)) as variance
    from groups
    group by stratum
)

select trend_z(sum(distance), sum(variance)) as z, two_sided_p(trend_z(sum(distance), sum(variance))) as p, sum(k)::bigint as k, sum(n)::bigint as n,
    count(*) as strata
from summed;
comment on macro table cochran_armitage_stratified is 'Trend of a share over ordered groups, pooled over the strata of a table (stratum, score, k, n).';

create macro cochran_armitage(t) as table
with groups as (
    select k::double as successes, n::double as patients, score::double - min(score::double) over () as step
    from query_table(t)
    where has_members(score::double, k::double, n::double, 'cochran_armitage')
),

summed as (
    select sum(successes) as k, sum(patients) as n, count(*) as groups,
        trend_distance(sum(step * successes), sum(step * patients), sum(successes), sum(patients)) as distance,
        trend_variance(sum(step * patients), sum(step * step * patients), sum(successes), sum(patients)) as variance
    from groups
)

select trend_z(distance, variance) as z, two_sided_p(trend_z(distance, variance)) as p, k::bigint as k, n::bigint as n, groups
from summed;
comment on macro table cochran_armitage is 'Cochran-Armitage trend of a share over the groups of a table (score, k, n): z, p.';

-- given: create table doses as from (values (0, 10, 40), (1, 15, 40), (2, 22, 40)) as t (score, k, n)
-- given: create table dates as select score + 1700000000 as score, k, n from doses
-- given: create table doses_twice as select 'a' as stratum, * from doses union all select 'b', * from doses
-- assert: (select abs(z - 2.748572) < 5e-7 and abs(p - 0.005986) < 5e-7 and n = 120 from cochran_armitage('doses'))
-- assert: (select abs(z - 2.748572 * sqrt(2)) < 1e-6 and strata = 2 from cochran_armitage_stratified('doses_twice'))
-- assert: (select abs(z - 2.748572) < 5e-7 from cochran_armitage('dates'))
