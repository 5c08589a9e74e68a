-- kaplan_meier('t', level := 0.95): survival over a table (time, event), as one row per time at which anything ended:
-- time, n_at_risk, n_events, n_censored, survival, low, high.
-- 1. n_at_risk = those whose time is not shorter; who is censored at a time is at risk at that time
-- 2. survival  = product over times so far of 1 - n_events / n_at_risk
-- 3. greenwood = sum of n_events / (n_at_risk (n_at_risk - n_events)); the interval is that of ln(-ln survival):
--    survival ^ exp(-+ z sqrt(greenwood) / ln survival), which stays inside [0, 1]; null while survival is 1, and once it is 0
-- The median is the first time with survival <= 0.5. Rows without a time or an event are left out (durability says why by reason);
-- a negative time is an error, and so is an event that is neither true nor false, 1 nor 0.
-- Time to loss of response: (time_d, event) of `durability` where definition = 'retained_40'.
-- Reference: Kaplan and Meier 1958, JASA 53:457; Kalbfleisch and Prentice 1980 (interval).
create macro kaplan_meier(t, level := 0.95) as table
with ended as (
    select time, count(*) filter (event::boolean) as n_events, count(*) filter (not event::boolean) as n_censored
    from query_table(t)
    where time is not null and event is not null and case
        when not coalesce(time >= 0 and isfinite(time::double), false)
            then error('kaplan_meier: a time is negative or not finite; it counts from the start of being at risk')
        when coalesce(try_cast(event as double), 0e0) in (0, 1) then true
        else error('kaplan_meier: an event is neither true nor false (nor 1 or 0); a code of 1 and 2 must be written as event = 2') end
    group by time
),

at_risk as (
    select *, sum(n_events + n_censored) over (order by time rows between current row and unbounded following) as n_at_risk
    from ended
),

asked as (
    select table_z(level, 'kaplan_meier') as z
),

curve as (
    select time, n_at_risk::bigint as n_at_risk, n_events, n_censored,
        product(1e0 - n_events / n_at_risk) over so_far as survival,
        sum(case when n_at_risk > n_events then n_events / n_at_risk / (n_at_risk - n_events) end) over so_far as greenwood
    from at_risk
    window so_far as (order by time rows between unbounded preceding and current row)
)

select time, n_at_risk, n_events, n_censored, survival,
    case when survival > 0 and survival < 1 then survival ** exp(-z * sqrt(greenwood) / ln(survival)) end as low,
    case when survival > 0 and survival < 1 then survival ** exp(z * sqrt(greenwood) / ln(survival)) end as high
from curve
cross join asked
order by time;
comment on macro table kaplan_meier is 'Kaplan-Meier survival over a table (time, event) with log-log intervals; one row per time.';

-- given: create table lives as from (values (1, true), (2, true), (2, false), (4, true), (5, false)) as t (time, event)
-- assert: (select list(round(survival, 12) order by time) from kaplan_meier('lives')) = [0.8, 0.6, 0.3, 0.3]
-- assert: (select list(n_at_risk order by time) from kaplan_meier('lives')) = [5, 4, 2, 1]
-- assert: (select abs(low - 0.203809) < 5e-7 and abs(high - 0.969180) < 5e-7 from kaplan_meier('lives') where time = 1)
-- assert: (select bool_and(low < survival and survival < high) from kaplan_meier('lives'))
