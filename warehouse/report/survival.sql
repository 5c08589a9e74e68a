-- Survival of response: Kaplan-Meier share of patients without the event, by time, arm and disorder.
-- retained_40: from the first response to its loss; first_response: from the index date to the first response.
-- 1. Arms are decided at the landmark, so in an arm a patient is at risk only from the landmark on (delayed entry); nobody is given
--    time before it. All patients together (arm all) are at risk from the start.
-- 2. survival(t) = product over event times up to t of 1 - events / at risk; 95 % interval by Greenwood on the log-log scale
-- 3. The curve is told every 7 days, or in 60 steps when it is longer than that; n is everybody who was ever at risk
-- Reference: Kaplan and Meier 1958; Tsai, Jewell and Wang 1987 (delayed entry); Anderson 1983 (landmark).
with timed as (
    select d.definition, d.instrument, d.subscale, d.arm, d.time_d, d.event, d.from_d, w.to_d as landmark_d,
        list_prepend('all', case when len(p.disorders) > 0 then p.disorders else ['none_recorded'] end) as disorders
    from durability as d
    inner join patients as p on p.patient_key = d.patient_key
    cross join (from visit_windows where kind = 'landmark') as w
    where d.time_d is not null
),

in_arms as (
    select definition, instrument, subscale, disorders, 'all' as arm, 0 as entry_d, time_d, event from timed
    union all
    select definition, instrument, subscale, disorders, arm, greatest(0, landmark_d - from_d), time_d, event from timed
),

at_risk_ever as (
    select * exclude (disorders), unnest(disorders) as disorder
    from in_arms
    where time_d > entry_d
),

moves as (
    select definition, instrument, subscale, disorder, arm, entry_d as at_d, 1 as enters, 0 as leaves, 0 as events from at_risk_ever
    union all
    select definition, instrument, subscale, disorder, arm, time_d, 0, 1, event::int from at_risk_ever
),

days as (
    select definition, instrument, subscale, disorder, arm, at_d, sum(enters) as enters, sum(leaves) as leaves, sum(events) as events
    from moves
    group by all
),

followed as (
    select *, coalesce(sum(enters - leaves) over (curve rows between unbounded preceding and 1 preceding), 0) as at_risk
    from days
    window curve as (partition by definition, instrument, subscale, disorder, arm order by at_d)
),

products as (
    select *, sum(enters) over (partition by definition, instrument, subscale, disorder, arm) as n,
        product(case when events > 0 then 1 - events / at_risk else 1 end) over curve as survival,
        sum(case when events between 1 and at_risk - 1 then events / (at_risk * (at_risk - events)) else 0 end) over curve as greenwood
    from followed
    window curve as (partition by definition, instrument, subscale, disorder, arm order by at_d)
),

steps as (
    select unnest(range(0, (max(time_d) + step_d)::bigint, step_d)) as day
    from timed
    cross join (select greatest(7, ceil(max(time_d) / 60))::bigint as step_d from timed)
    group by step_d
),

curves as (
    select definition, instrument, subscale, disorder, arm, min(at_d) as from_d, max(at_d) as to_d
    from days
    group by all
)

select c.definition, c.instrument, c.subscale, c.disorder, c.arm, s.day, p.n::bigint as n,
    (p.at_risk + p.enters - p.leaves)::bigint as at_risk, p.survival,
    case when p.survival > 0 and p.survival < 1 then pow(p.survival, exp(two_sided_z(0.95) * sqrt(p.greenwood) / -ln(p.survival))) end as low,
    case when p.survival > 0 and p.survival < 1 then pow(p.survival, exp(-two_sided_z(0.95) * sqrt(p.greenwood) / -ln(p.survival))) end as high
from curves as c
inner join steps as s on s.day >= c.from_d and s.day <= c.to_d
asof inner join products as p on p.definition = c.definition and p.instrument = c.instrument and p.subscale = c.subscale
    and p.disorder = c.disorder and p.arm = c.arm and s.day >= p.at_d
order by c.definition, c.instrument, c.subscale, c.disorder, c.arm, s.day
