-- Patient-time and events of every patient and band, then of every stratum.
-- 1. banded  = events in the span they begin in, both ends of follow-up included; at the edge of two spans the later one.
--    Outside of follow-up, or without an index date, there is no time at risk: outside_follow_up. `any` counts all terms together.
-- 2. at_risk = patients, patient-time, withdrawals and coverage of a stratum, modality and band; times in whole microseconds
-- 3. harmed  = events, patients with one, serious and related ones of a term there
create temp table banded as
with placed as (
    select o.patient, o.term, o.serious, o.related, f.modality,
        coalesce(max_by(s.band, s.from_us) filter (o.after_us >= s.from_us and (o.after_us < s.to_us or o.after_us = s.end_us)),
            'outside_follow_up') as band
    from (select row_number() over () as onset, * from onsets) as o
    inner join followed as f on f.patient = o.patient
    left join spans as s on s.patient = o.patient
    group by o.onset, o.patient, o.term, o.serious, o.related, f.modality
)

select patient, modality, band, coalesce(term, 'any') as term, count(*) as events, count(*) filter (serious) as serious,
    count(*) filter (related) as related
from placed
group by grouping sets ((patient, modality, band, term), (patient, modality, band));

create temp table at_risk as
with patients_in_band as (
    select patient, modality, band, sum(to_us - from_us)::bigint as at_risk_us, bool_or(has_withdrawn) as has_withdrawn,
        sum(round(coverage * (to_us - from_us)))::bigint as covered_us
    from spans
    group by patient, modality, band
    union all
    select distinct patient, modality, band, 0, false, null::bigint
    from banded
    where band = 'outside_follow_up'
)

select m.stratum_id, b.modality, b.band, count(*) as n, sum(b.at_risk_us) as at_risk_us, count(*) filter (b.has_withdrawn) as withdrawn,
    sum(b.covered_us) as covered_us, sum(b.at_risk_us) filter (b.covered_us is not null) as coverable_us
from patients_in_band as b
inner join memberships as m on m.patient = b.patient
group by m.stratum_id, b.modality, b.band;

create temp table harmed as
select m.stratum_id, b.modality, b.band, b.term, count(*) as k, sum(b.events)::bigint as events, sum(b.serious)::bigint as serious,
    sum(b.related)::bigint as related
from banded as b
inner join memberships as m on m.patient = b.patient
group by m.stratum_id, b.modality, b.band, b.term;
