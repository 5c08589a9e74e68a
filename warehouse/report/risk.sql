-- Harm by dose: adverse events begun per 100 patient-years, with the exact 95 % Poisson interval, by the dose of the 28 days before.
-- Its bands are thirds of patient-time, those of the response are thirds of patients: read them side by side, not as one.
select stratifier, stratum, term, modality, band, n, k, events, patient_years, rate, low, high, serious, related, withdrawn, reason, caution
from safety
where stratifier in ('all', 'disorder') and band <> 'outside_follow_up'
order by stratifier, stratum, term, modality, band
