-- Dose and response: how many respond in each dose band within a modality, in each stratum, with the trend.
-- 1. Bands: 1_banded.sql. Only patients with a device and a determined outcome (observed); a band without patients has no row.
-- 2. rate = k / n with its 95 % Wilson interval; dose = mean of the 28 days before the follow-up, by its measure: charge in mC a day,
--    on cervical devices time of stimulation in minutes a day
-- 3. Trends: 2_trends.sql; the one stratified by disorders stands in the stratum all
-- 4. reason, the first that holds: one_band, no_event, no_non_event (then there is no trend), sparse_bands (a trend without a p-value)
-- This is association only: a dose is raised because of non-response and limited by what is tolerated, so a high dose marks the
-- patients who did badly at lower ones (reverse causation). It says nothing about what another dose would have done.
-- Reference: Cochran 1954 (no expected count below 1); Aaronson 2013 (D-21), Fahoum 2022; within modality because units differ (Farmer 2021).
select d.modality, d.banding, d.band, s.stratifier, s.stratum, o.instrument, o.subscale, o.visit, o.definition, 'observed' as method,
    d.band_rank,
    m.measure,
    case when m.measure = 'charge' then d.least / 28e9 end as charge_mc_per_day_min,
    case when m.measure = 'charge' then d.mean / 28e9 end as charge_mc_per_day_mean,
    case when m.measure = 'charge' then d.most / 28e9 end as charge_mc_per_day_max,
    case when m.measure = 'time' then d.least / (28 * 6e4) end as on_min_per_day_min,
    case when m.measure = 'time' then d.mean / (28 * 6e4) end as on_min_per_day_mean,
    case when m.measure = 'time' then d.most / (28 * 6e4) end as on_min_per_day_max,
    d.n, d.k, d.share.estimate as rate, d.share.low as low, d.share.high as high,
    d.coverage,
    t.z as trend_z, case when t.least_expected >= 1 then two_sided_p(t.z) end as trend_p,
    case when s.stratifier = 'all' then a.z end as stratified_trend_z,
    case when s.stratifier = 'all' and t.least_expected >= 1 then two_sided_p(a.z) end as stratified_trend_p,
    coalesce(t.n, 0)::bigint as n_in_trend,
    case
        when t.bands is null or t.bands < 2 then 'one_band'
        when t.k = 0 then 'no_event'
        when t.k = t.n then 'no_non_event'
        when t.least_expected < 1 then 'sparse_bands'
    end as reason,
    concat_ws('; ', 'association only: the dose is titrated because of non-response',
        case when s.stratifier = 'disorder' then 'overlapping strata' end,
        case when o.has_floor then 'scale does not start at 0' end,
        case when least(d.k, d.n - d.k) < 5 then 'small cells' end
    ) as caution
from (select *, wilson(k, n) as share from dosed) as d
inner join (values ('implanted', 'charge'), ('auricular', 'charge'), ('cervical', 'time')) as m (modality, measure) on m.modality = d.modality
inner join stratum_names as s on s.stratum_id = d.stratum_id
inner join outcome_names as o on o.outcome_id = d.outcome_id
left join trends as t
    on t.stratum_id = d.stratum_id and t.outcome_id = d.outcome_id and t.modality = d.modality and t.banding = d.banding
left join stratified_trends as a on a.outcome_id = d.outcome_id and a.modality = d.modality and a.banding = d.banding
order by d.modality, d.banding, d.band, s.stratifier, s.stratum, o.instrument, o.subscale, o.visit, o.definition
