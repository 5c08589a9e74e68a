-- The risk at the top: harms that began per 100 patient-years, on VNS of any kind and without a device; `any` is all of them together.
-- Time before the activation and outside of follow-up is left out. An association: who has a device is seen more often.
with spans as (
    select case when modality = 'none' then 'no_device' else 'vns' end as who, term, sum(events)::bigint as events,
        sum(serious)::bigint as serious, sum(patient_years) as patient_years
    from safety
    where stratifier = 'all' and band not in ('before_activation', 'outside_follow_up')
    group by who, term
)

select who, term, events, serious, patient_years, 100 * rate['estimate'] as rate, 100 * rate['low'] as low, 100 * rate['high'] as high
from (select *, poisson_rate(events, patient_years) as rate from spans)
order by who desc, term <> 'any', events desc, term
