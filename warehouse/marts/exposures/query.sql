-- Exposures: one row per patient and stretch of time in which they had begun the same treatments; for analyses that treat therapy as
-- varying in time instead of fixing arms at the landmark.
-- 1. from the index date on; stimulation counts from the first activation, therapy from the first session after the index date. What
--    begins before the index date counts from day 0. A patient without an index date has no time line.
-- 2. stretches are half-open, from_d included and to_d not; the last one is open (to_d null)
-- 3. state is what has begun, not what is still going on: the dose of the day is in dose_daily
-- Counting the time before therapy as time on therapy would make it immortal: therapy begun at month 8 exposes nobody from month 0.
-- Reference: Suissa 2008 (immortal time bias).
with begun as (
    select patient_key, epoch_us(activated_at) - epoch_us(index_at) as vns_us, epoch_us(cbt_started_at) - epoch_us(index_at) as cbt_us
    from patients
    where index_at is not null
),

edges as (
    select distinct patient_key, vns_us, cbt_us, greatest(edge_us, 0) as from_us
    from (select *, unnest([0, vns_us, cbt_us]) as edge_us from begun)
    where edge_us is not null
),

stated as (
    select *, coalesce(vns_us <= from_us, false) as vns, coalesce(cbt_us <= from_us, false) as cbt
    from edges
)

select patient_key, from_us / 86400000000 as from_d,
    lead(from_us) over (partition by patient_key order by from_us) / 86400000000 as to_d,
    vns, cbt,
    case when vns and cbt then 'vns_cbt' when vns then 'vns' when cbt then 'cbt' else 'neither' end as state
from stated
