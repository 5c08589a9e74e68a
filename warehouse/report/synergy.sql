-- VNS and CBT together: response in the four arms, and by how much both do more (or less) than their two gains added up, with its
-- 95 % interval; of all patients and of each disorder.
select definition, instrument, subscale, visit, method, stratifier, stratum, n_vns, k_vns, n_cbt, k_cbt, n_both, k_both, n_neither, k_neither,
    interaction, interaction_low, interaction_high, reason, caution
from synergy
where stratifier in ('all', 'disorder')
order by definition, instrument, subscale, visit, method, stratifier, stratum
