-- Trends over the bands low, middle, high (scores 1, 2, 3); off and unknown are no step of a dose and stay out.
-- 1. trends            = cochran_armitage() for every stratum, outcome, modality and banding at once, from the same pieces
-- 2. stratified_trends = cochran_armitage_stratified() within sets of disorders: the set a patient has, so that nobody counts twice
-- Null where the variance is 0: one band, nobody responded, or everybody did.
-- least_expected = responders or non-responders, whichever are fewer, that the smallest band would have without a trend. Below 1 the
-- normal law fails: one patient in a band who alone responds among 86 has z 6 and a p-value of 7e-10, where chance gives 1 in 86.
-- Reference: Cochran 1954, Armitage 1955; Mantel 1963 for the sum over strata.
create temp table trends as
with summed as (
    select stratum_id, outcome_id, modality, banding, sum(k)::double as k, sum(n)::double as n, sum(band_rank * k)::double as score_k,
        sum(band_rank * n)::double as score_n, sum(band_rank * band_rank * n)::double as score2_n,
        count(*) filter (n > 0) as bands, least(sum(k), sum(n) - sum(k)) * min(n) / sum(n) as least_expected
    from dosed
    where band_rank is not null
    group by stratum_id, outcome_id, modality, banding
)

select *, trend_z(trend_distance(score_k, score_n, k, n), trend_variance(score_n, score2_n, k, n)) as z
from summed;

create temp table stratified_trends as
with sets as (
    select p.patient, (dense_rank() over (order by array_to_string(d.disorders, ' ')))::integer as set_id
    from patients as d
    inner join people as p on p.patient_key = d.patient_key
),

cells as (
    select s.set_id, d.outcome_id, d.modality, d.tertile, d.d21, count(*) as n, count(*) filter (d.responded) as k
    from doses as d
    inner join sets as s on s.patient = d.patient
    group by s.set_id, d.outcome_id, d.modality, d.tertile, d.d21
),

ranked as (
    select *, 'tertile' as banding, list_position(['low', 'middle', 'high'], tertile) as band_rank from cells
    union all
    select *, 'd21' as banding, list_position(['low', 'middle', 'high'], d21) as band_rank from cells where d21 is not null
),

summed as (
    select set_id, outcome_id, modality, banding, sum(k)::double as k, sum(n)::double as n, sum(band_rank * k)::double as score_k,
        sum(band_rank * n)::double as score_n, sum(band_rank * band_rank * n)::double as score2_n
    from ranked
    where band_rank > 0
    group by set_id, outcome_id, modality, banding
)

select outcome_id, modality, banding,
    trend_z(list_sum(list(trend_distance(score_k, score_n, k, n) order by set_id)),
        list_sum(list(trend_variance(score_n, score2_n, k, n) order by set_id))) as z
from summed
group by outcome_id, modality, banding;
