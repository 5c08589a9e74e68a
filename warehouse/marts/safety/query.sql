-- Safety: how often each harm began, per patient-time, by the dose of the four weeks before, in each stratum.
-- 1. Bands and follow-up: 1_periods.sql, 2_followed.sql. Every onset counts, a repeated one again (any_onset)
-- 2. n = patients with time in the band, k = patients with an event in it; every term anybody had has a row, also with no event
-- 3. rate = events per 100 patient-years (365.25 days) with the exact Poisson interval; null without time at risk, with the reason
-- 4. withdrawn = patients who withdrew their consent in the band, for whatever reason; who had data erased is in no number at all
-- The interval takes onsets as independent: where few patients have many events it is too narrow. Time ends at the last contact,
-- which may itself be an event. An association: doses are lowered for what is not tolerated, and early time is time at low doses.
-- Reference: Garwood 1936 (exact interval); terms as in the VNS safety literature (D-02 long-term, 1- and 2-year tables).
with terms as (
    select distinct term from harmed
),

counted as (
    select t.term, r.*, coalesce(h.k, 0) as k, coalesce(h.events, 0) as events, coalesce(h.serious, 0) as serious,
        coalesce(h.related, 0) as related, poisson_rate(coalesce(h.events, 0), r.at_risk_us / 31557600e6) as per_year
    from at_risk as r
    cross join terms as t
    left join harmed as h on h.stratum_id = r.stratum_id and h.modality = r.modality and h.band = r.band and h.term = t.term
)

select c.term, c.modality, c.band, s.stratifier, s.stratum, 'any_onset' as definition, 'patient_time' as method,
    c.n, c.k, c.events, c.at_risk_us / 31557600e6 as patient_years,
    100 * c.per_year.estimate as rate, 100 * c.per_year.low as low, 100 * c.per_year.high as high,
    c.serious, c.related, c.withdrawn,
    case when c.coverable_us > 0 then least(c.covered_us / c.coverable_us, 1) end as coverage,
    case when c.at_risk_us = 0 then 'no_time_at_risk' end as reason,
    concat_ws('; ', 'confounded by indication',
        case when c.band in ('off', 'low', 'middle', 'high') then 'association only: the dose is lowered for what is not tolerated' end,
        case when s.stratifier = 'disorder' then 'overlapping strata' end,
        case when c.events < 5 then 'small cells' end
    ) as caution
from counted as c
inner join stratum_names as s on s.stratum_id = c.stratum_id
order by c.term, c.modality, c.band, s.stratifier, s.stratum
