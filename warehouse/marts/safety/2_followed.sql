-- How long every patient was followed, and in which band every part of it counts.
-- 1. start = index date. end = withdrawal of consent, else the last contact: a survey answered, a measurement, a session begun, the onset
--    of an event; never after the last contact anybody had. An end before the start is no time (not negative time).
-- 2. before_activation: until the first activation; first_28_days: until 28 days after it; then periods of 28 days, each in the band
--    of the period before it (unknown where that has no days). Without a device all time is no_device.
-- 3. spans = what of these lies between start and end, in microseconds after the index date
create temp table onsets as
select patient, term, serious, coalesce(related in ('possible', 'probable', 'definite'), false) as related, after_us
from accepted('staged_adverse_events');

create temp table followed as
with contacts as (
    select p.patient, epoch_us(max(s.completed_at)) - any_value(p.index_us) as after_us
    from scores as s
    inner join people as p on p.patient_key = s.patient_key
    group by p.patient
    union all
    select p.patient, epoch_us(max(d.day)::timestamp) - any_value(p.index_us)
    from dose_daily as d
    inner join people as p on p.patient_key = d.patient_key
    where d.sessions > 0
    group by p.patient
    union all
    select patient, max(after_us) from measured group by patient
    union all
    select patient, max(after_us) from onsets group by patient
),

last_contacts as (
    select patient, max(after_us) as after_us from contacts group by patient
)

select p.patient, coalesce(p.modality, 'none') as modality, p.activated_us,
    epoch_us(w.withdrawn_at) - p.index_us as withdrawn_us,
    least(coalesce(withdrawn_us, c.after_us), max(p.index_us + c.after_us) over () - p.index_us) as end_us
from people as p
left join last_contacts as c on c.patient = p.patient
left join withdrawals as w on w.patient_key = p.patient_key;

create temp table spans as
with cut as (
    select patient, modality, end_us, withdrawn_us, unnest(case
        when modality = 'none' then [{'band': 'no_device', 'period': null::bigint, 'from_us': 0::bigint, 'to_us': end_us}]
        else [
            {'band': 'before_activation', 'period': null, 'from_us': 0, 'to_us': least(coalesce(activated_us, end_us), end_us)},
            {'band': 'first_28_days', 'period': 0, 'from_us': greatest(activated_us, 0),
                'to_us': least(activated_us + 28 * 86400000000, end_us)}
        ]
    end, recursive := true)
    from followed
    where end_us > 0
    union all
    select f.patient, f.modality, f.end_us, f.withdrawn_us, 'by_dose', n, greatest(f.activated_us + n * 28 * 86400000000, 0),
        least(f.activated_us + (n + 1) * 28 * 86400000000, f.end_us)
    from followed as f
    cross join range(1, (select coalesce(max(end_us - activated_us), 0) // (28 * 86400000000) + 2 from followed)) as r (n)
    where f.activated_us is not null and f.modality <> 'none'
)

select c.patient, c.modality, case c.band when 'by_dose' then coalesce(p.band, 'unknown') else c.band end as band, c.from_us, c.to_us,
    c.end_us, c.withdrawn_us between c.from_us and c.to_us and c.withdrawn_us <= c.end_us and c.to_us = c.end_us as has_withdrawn,
    case when c.modality <> 'none' and c.band <> 'before_activation' then coalesce(o.covered_ppm, 0) / 28e6 end as coverage
from cut as c
left join periods as p on p.patient = c.patient and p.period = c.period - 1 and c.band = 'by_dose'
left join periods as o on o.patient = c.patient and o.period = c.period
where c.to_us > c.from_us;
