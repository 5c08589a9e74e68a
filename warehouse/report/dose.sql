-- Response by dose: response rate with its 95 % Wilson interval in each band of the charge of the 28 days before.
-- Doses of different modalities are not comparable, so each has a panel and bands of its own. off and unknown are not in the trend.
select definition, instrument, subscale, visit, stratifier, stratum, banding, modality, band, band_rank, charge_mc_per_day_min,
    charge_mc_per_day_mean, charge_mc_per_day_max, n, k, low, high, coverage, trend_p, stratified_trend_p, reason, caution
from dose_response
where stratifier in ('all', 'disorder')
    and (instrument, subscale) not in (select (instrument, subscale) from instruments where not is_primary)
order by definition, instrument, subscale, visit, stratifier, stratum, banding, modality, band_rank nulls first, band
