-- Response by dose: response rate with its 95 % Wilson interval in each band of the dose of the 28 days before: charge in mC a day, or
-- time of stimulation in minutes a day where a device cannot tell its charge (measure).
-- Doses of different modalities are not comparable, so each has a panel and bands of its own. off and unknown are not in the trend.
select definition, instrument, subscale, visit, stratifier, stratum, banding, modality, band, band_rank, measure,
    coalesce(charge_mc_per_day_min, on_min_per_day_min) as dose_min, coalesce(charge_mc_per_day_mean, on_min_per_day_mean) as dose_mean,
    coalesce(charge_mc_per_day_max, on_min_per_day_max) as dose_max, n, k, low, high, coverage, trend_p, stratified_trend_p, reason, caution
from dose_response
where stratifier in ('all', 'disorder')
    and (instrument, subscale) not in (select (instrument, subscale) from instruments where not is_primary)
order by definition, instrument, subscale, visit, stratifier, stratum, banding, modality, band_rank nulls first, band
