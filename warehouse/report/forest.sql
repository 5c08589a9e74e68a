-- VNS against no VNS in every stratum: difference of the response rates with its 95 % Newcombe interval.
-- vns is compared with neither, vns_cbt with cbt; p-values are Benjamini-Hochberg adjusted over the strata of a family.
select definition, instrument, subscale, visit, method, arm, stratifier, stratum, comparator, n, k, n_comparator, k_comparator,
    risk_difference, risk_difference_low, risk_difference_high, p_adjusted, heterogeneity_p, reason, caution
from strata
where comparator is not null
order by definition, instrument, subscale, visit, method, arm, stratifier, stratum
