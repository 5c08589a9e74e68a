-- The answer in a sentence: in which disorder does VNS alone do best and least, beside patients with neither VNS nor CBT?
-- 1. Response is a drop of at least 50 % (drop_50), observed cases, the arm is the one at the landmark.
-- 2. Of all scores and visits, those of the score with most patients on VNS; of its visits the latest that still has half as many
--    determined as the best attended one.
-- 3. One row per disorder with at least 10 patients in both arms, highest response rate first, then the row of all patients.
with asked as (
    select *
    from strata
    where definition = 'drop_50' and method = 'observed' and arm = 'vns' and stratifier in ('all', 'disorder')
        and (instrument, subscale) not in (select (instrument, subscale) from instruments where not is_primary)
),

attended as (
    select instrument, subscale, visit, n, max(n) over (partition by instrument, subscale) as n_best
    from asked
    where stratifier = 'all' and n > 0
),

chosen as (
    select a.instrument, a.subscale, a.visit
    from attended as a
    inner join visit_windows as w on w.visit = a.visit
    where 2 * a.n >= a.n_best
    order by a.n_best desc, a.instrument, a.subscale, w.to_d desc
    limit 1
)

select s.stratifier, s.stratum, s.instrument, s.subscale, s.visit, s.definition, s.method, s.n, s.k, s.rate, s.low, s.high,
    s.comparator, s.n_comparator, s.k_comparator, s.risk_difference, s.risk_difference_low, s.risk_difference_high,
    s.p_adjusted, s.heterogeneity_p, s.caution
from asked as s
inner join chosen as c on c.instrument = s.instrument and c.subscale = s.subscale and c.visit = s.visit
where s.stratifier = 'all' or (s.n >= 10 and s.n_comparator >= 10 and s.stratum <> 'none_recorded')
order by s.stratifier desc, s.rate desc, s.stratum
