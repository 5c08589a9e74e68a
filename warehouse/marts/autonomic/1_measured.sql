-- Measurements that count: the rule of facts, in SQL, because facts are staged as a set and their bin depends on what was known when.
-- `staged_<source>` holds the facts known by the instant the window is built for (happened_at and revised_at by their contract).
-- 1. latest      = of the contents of one key the latest revision, then the larger fingerprint
-- 2. withdrawals = patients whose latest decision (by effective_at, then the later record) is a withdrawal
-- 3. accepted    = latest facts of patients of the mart, if they happened before the patient withdrew; erased ones are not in the mart
create temp macro latest(facts) as table
from query_table(facts)
qualify row_number() over (partition by _key order by revised_at desc, _fingerprint desc) = 1;

create temp table withdrawals as
select patient_key, max_by(action, (effective_at, recorded_at, _fingerprint)) as action,
    max_by(effective_at, (effective_at, recorded_at, _fingerprint)) as withdrawn_at
from latest('staged_consents')
group by patient_key
having action = 'withdrawn';

create temp macro accepted(facts) as table
select f.*, p.patient, epoch_us(f.happened_at) - p.index_us as after_us, after_us > p.start_us as is_after
from latest(facts) as f
inner join people as p on p.patient_key = f.patient_key
left join withdrawals as w on w.patient_key = f.patient_key
where w.withdrawn_at is null or f.happened_at < w.withdrawn_at;

create temp table measured as
select patient, kind as measure, value, after_us, is_after, measured_at, measurement_key
from accepted('staged_physiology');
