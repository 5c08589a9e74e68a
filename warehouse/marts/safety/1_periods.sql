-- The dose a patient had in every period of 28 days since activation, as a band: what the time of the next period counts under.
-- 1. periods  = whole UTC days since the day of the first activation, by 28; amount = charge, on cervical devices time of stimulation
--    (they cannot tell their charge), over all devices of a patient; unknown where it is not told or less than
--    80 % of the 28 days are known
-- 2. tertiles of the amounts above 0 of all periods of a modality; off: an amount of 0
-- A band comes from the period before, never from the one an event falls into: a dose lowered because of an event would otherwise be
-- blamed for it, and a band given for the whole of a patient would know the future.
create temp table periods as
with summed as (
    select p.patient, p.modality, (d.day - make_timestamptz(p.index_us + p.activated_us)::date) // 28 as period,
        (avg(round(d.coverage * 1e6)::bigint) * least(28, count(*)))::bigint as covered_ppm,
        case
            when p.modality = 'cervical' then sum(d.on_ms) when count(*) = count(d.charge_pc) then sum(d.charge_pc)
        end as amount
    from dose_daily as d
    inner join people as p on p.patient_key = d.patient_key
    where d.day >= make_timestamptz(p.index_us + p.activated_us)::date
    group by p.patient, p.modality, period
),

known as (
    select patient, modality, period, covered_ppm, case when covered_ppm >= 28 * 800000 then amount end as amount
    from summed
),

cuts as (
    select modality, quantile_disc(amount, [1 / 3, 2 / 3]) as edges
    from known
    where amount > 0
    group by modality
)

select k.patient, k.period, k.covered_ppm,
    case
        when k.amount is null then 'unknown' when k.amount = 0 then 'off'
        when k.amount <= c.edges[1] then 'low' when k.amount <= c.edges[2] then 'middle' else 'high'
    end as band
from known as k
left join cuts as c on c.modality = k.modality;
