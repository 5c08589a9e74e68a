-- The course of a primary score after the start, for definitions that ask when and how long.
-- 1. points  = scorable scores after the start of patients with a baseline above 0; of two at the same instant the worse.
--    responded and kept = a drop of at least 50 % and 40 %; next_us = the next instant
-- 2. courses = the first response, its loss (the first later point that is not kept), the last point
-- 3. spells  = of each period: assessments, time between the first and the last of them, and how much of it was in response (a point
--    stands until the next one); the same with every point carried forward over the whole period
create temp table points as
with rules as (
    select definition_parameter('first_response', 'drop_percent') as drop_percent, definition_parameter('retained_40', 'keep_percent') as keep_percent
)

select s.patient, s.scale, s.after_us, s.score,
    100 * (a.baseline - s.score) >= r.drop_percent * a.baseline - 1e-9 as responded,
    100 * (a.baseline - s.score) >= r.keep_percent * a.baseline - 1e-9 as kept,
    lead(s.after_us) over (partition by s.patient, s.scale order by s.turn) as next_us
from scored as s
inner join asked as a on a.patient = s.patient and a.scale = s.scale and a.baseline > 0
inner join scales as c on c.scale = s.scale and c.is_primary and c.higher_is_worse
cross join rules as r
where s.score is not null and s.is_after
qualify next_us is null or next_us > s.after_us;

create temp table courses as
with firsts as (
    select patient, scale, min(after_us) filter (responded) as first_us, max(after_us) as last_us, count(*) as n,
        min_by(score, after_us) filter (responded) as first_score
    from points
    group by patient, scale
)

select f.patient, f.scale, any_value(f.first_us) as first_us, any_value(f.first_score) as first_score, any_value(f.last_us) as last_us,
    any_value(f.n) as n, min(p.after_us) as loss_us
from firsts as f
left join points as p on p.patient = f.patient and p.scale = f.scale and p.after_us > f.first_us and not p.kept
group by f.patient, f.scale;

create temp table spells as
select p.patient, p.scale, w.visit, w.to_us - w.from_us as period_us,
    count(*) filter (p.after_us >= w.from_us) as n,
    max(p.after_us) filter (p.after_us >= w.from_us) - min(p.after_us) filter (p.after_us >= w.from_us) as seen_us,
    coalesce(sum(p.next_us - p.after_us) filter (p.responded and p.after_us >= w.from_us and p.next_us <= w.to_us), 0)::bigint as in_response_us,
    coalesce(sum(least(coalesce(p.next_us, w.to_us), w.to_us) - greatest(p.after_us, w.from_us))
        filter (p.responded and coalesce(p.next_us, w.to_us) > w.from_us), 0)::bigint as carried_us,
    max_by(p.score, p.after_us) filter (p.after_us >= w.from_us) as last_score
from points as p
inner join windows as w on w.kind = 'period' and p.after_us <= w.to_us
group by p.patient, p.scale, w.visit, w.from_us, w.to_us;
