-- The answer at the top: in which disorder does VNS alone do best and least, beside patients with neither VNS nor CBT?
-- 1. Response is a drop of at least 50 % (drop_50), observed cases, the arm is the one at the landmark.
-- 2. Of all scores and visits, those of the score with most patients on VNS; of its visits the latest that still has half as many
--    determined as the best attended one.
-- 3. One row per disorder with at least 10 patients in both arms, highest response rate first, then the row of all patients.
-- 4. Beside it the same rate with who was not seen taken for no response (nri), and in the row of all patients what VNS and CBT do
--    together (synergy) and the response by thirds of the dose, of the kind of device with most patients (dose_response).
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
),

doses as (
    select modality, sum(n) as n, any_value(trend_p) as trend_p,
        list({'band': band, 'n': n, 'k': k, 'rate': rate} order by band_rank) as bands
    from dose_response as d
    inner join chosen as c on c.instrument = d.instrument and c.subscale = d.subscale and c.visit = d.visit
    where d.stratifier = 'all' and d.definition = 'drop_50' and d.banding = 'tertile' and d.band in ('low', 'middle', 'high')
    group by modality
    having count(*) = 3
    order by sum(n) desc, modality
    limit 1
)

select s.stratifier, s.stratum, s.instrument, s.subscale, s.visit, s.definition, s.method, s.n, s.k, s.rate, s.low, s.high,
    s.comparator, s.n_comparator, s.k_comparator, s.risk_difference, s.risk_difference_low, s.risk_difference_high,
    s.p_adjusted, s.heterogeneity_p, s.caution, s.n_undetermined, i.n as n_nri, i.k as k_nri, i.rate as rate_nri,
    y.n_both, y.k_both, y.rate_both, y.rate_cbt, y.rate_neither, y.interaction, y.interaction_low, y.interaction_high,
    d.modality as dose_modality, d.bands as dose_bands, d.trend_p
from asked as s
inner join chosen as c on c.instrument = s.instrument and c.subscale = s.subscale and c.visit = s.visit
left join strata as i
    on i.stratifier = s.stratifier and i.stratum = s.stratum and i.arm = s.arm and i.instrument = s.instrument
    and i.subscale = s.subscale and i.visit = s.visit and i.definition = s.definition and i.method = 'nri'
left join synergy as y
    on s.stratifier = 'all' and y.stratifier = 'all' and y.instrument = s.instrument and y.subscale = s.subscale
    and y.visit = s.visit and y.definition = s.definition and y.method = s.method
left join doses as d on s.stratifier = 'all'
where s.stratifier = 'all' or (s.n >= 10 and s.n_comparator >= 10 and s.stratum <> 'none_recorded')
order by s.stratifier desc, s.rate desc, s.stratum
