-- The dose before a measurement, from whole UTC days: the 28 days before the day it was taken on, that day itself left out.
-- 1. nearest = the measurement of a patient, measure and visit window nearest to the target day; equally near: the later, then larger key
-- 2. dosed   = charge of those days (null when one of them cannot tell it), time of stimulation, and the share of the days since
--    activation that is not unknown; a day without a row is unknown
create temp table nearest as
select m.patient, m.measure, w.visit, count(*) as n_follow_up,
    min_by({'value': m.value, 'at': m.measured_at}, (abs(m.after_us - w.target_us), -m.after_us, -m.measurement_key::hugeint))
        as follow_up
from measured as m
inner join windows as w
    on w.kind = 'visit' and m.is_after and m.after_us between w.from_us and w.to_us
group by m.patient, m.measure, w.visit;

create temp table dosed_days as
with asked as (
    select distinct n.patient, p.patient_key, n.follow_up['at']::date as day
    from nearest as n
    inner join people as p on p.patient = n.patient and p.modality is not null
)

select a.patient, a.day, case when count(*) = count(d.charge_pc) then sum(d.charge_pc)::bigint end as charge_pc_28d,
    sum(d.on_ms)::bigint as on_ms_28d, avg(round(d.coverage * 1e6)::bigint) / 1e6 * least(28, count(*)) as covered_days
from dose_daily as d
inner join asked as a on a.patient_key = d.patient_key and d.day between a.day - 28 and a.day - 1
group by a.patient, a.day;
