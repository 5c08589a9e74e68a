-- Which dose band a determined outcome falls into: the dose of the 28 days before its follow-up, within its modality.
-- 1. doses    = determined outcomes of patients with a device. Who was not seen has no dose before it: only observed cases are here.
--    The dose is the charge; on cervical devices, whose output the skin limits, the time of stimulation (amount: 2_counted of strata).
-- 2. tertile  = thirds of the amounts above 0 of one modality and outcome, over all strata; equal amounts share a band
--    d21      = implanted only: nearest of the groups of D-21 (20 Hz, 30 s on, 5 min off: 0.25 mA x 130 us is 5.1 mC a day,
--               0.5 to 1.0 mA x 250 us 19.6 to 39.3, 1.25 to 1.5 mA x 250 us 49.1 to 58.9), cut half way between them
-- 3. off: an amount of 0; unknown: the device cannot tell it, less than 80 % of the 28 days are known (what is missing would make a
--    dose look low), or the window of 28 days is not configured
-- Doses of different modalities are not comparable, so no band spans two.
-- Reference: Aaronson 2013 (D-21).
create temp table doses as
with determined as (
    select patient, outcome_id, severity_id, modality, responded, covered_ppm,
        case when covered_ppm >= 800000 then amount end as amount
    from verdicts
    where modality is not null and responded is not null
),

cuts as (
    select modality, outcome_id, quantile_disc(amount, [1 / 3, 2 / 3]) as edges
    from determined
    where amount > 0
    group by modality, outcome_id
)

select d.*,
    case
        when d.amount is null then 'unknown' when d.amount = 0 then 'off'
        when d.amount <= c.edges[1] then 'low' when d.amount <= c.edges[2] then 'middle' else 'high'
    end as tertile,
    case
        when d.modality <> 'implanted' then null when d.amount is null then 'unknown' when d.amount = 0 then 'off'
        when d.amount < 28 * 12.37e9 then 'low' when d.amount < 28 * 44.18e9 then 'middle' else 'high'
    end as d21
from determined as d
left join cuts as c on c.modality = d.modality and c.outcome_id = d.outcome_id;

create temp table dosed as
with pairs as (
    select m.stratum_id, d.* exclude (patient, severity_id)
    from doses as d
    inner join memberships as m on m.patient = d.patient
    union all
    select severity_id, * exclude (patient, severity_id)
    from doses
    where severity_id is not null
),

cells as (
    select stratum_id, outcome_id, modality, tertile, d21, count(*) as n, count(*) filter (responded) as k, min(amount) as least,
        max(amount) as most, sum(amount) as amount, sum(covered_ppm) as covered_ppm, count(covered_ppm) as with_coverage
    from pairs
    group by stratum_id, outcome_id, modality, tertile, d21
),

by_banding as (
    select *, 'tertile' as banding, tertile as band from cells
    union all
    select *, 'd21' as banding, d21 as band from cells where d21 is not null
)

select stratum_id, outcome_id, modality, banding, band,
    case band when 'low' then 1 when 'middle' then 2 when 'high' then 3 end as band_rank,
    sum(n)::bigint as n, sum(k)::bigint as k, min(least) as least, max(most) as most, sum(amount) / sum(n) as mean,
    sum(covered_ppm) / 1e6 / nullif(sum(with_coverage), 0) as coverage
from by_banding
group by stratum_id, outcome_id, modality, banding, band;
