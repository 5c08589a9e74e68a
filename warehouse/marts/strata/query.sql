-- Strata: how many respond, by disorder and by personal history, in each arm, for every score, visit window and definition.
-- 1. A patient belongs to the stratum all, to one stratum per recorded disorder (none_recorded without any), and for every history
--    flag to <flag> or no_<flag>. Strata of one stratifier may overlap: a patient with two disorders counts in both.
-- 2. Every stratum is counted in each arm and in all arms together. The arm is the one at the landmark, never with hindsight.
-- 3. n_patients = patients who were ever asked; n = those whose outcome is determined; n_undetermined = the rest
-- 4. k = responders; k_remission = remitted among n, with or without a response
-- 5. rate = k / n with its 95 % Wilson interval; null when n is 0
-- Counts are observed cases: who has no follow-up is in n_undetermined, not in n. These are associations, not effects.
-- Cells are as small as they are: suppress before anything leaves the site.
-- Reference: Wilson 1927; strata as in Aaronson 2017, McAllister-Williams 2020 and RECOVER.
with memberships as (
    select patient_key, 'all' as stratifier, 'all' as stratum
    from patients
    union all
    select patient_key, 'disorder', unnest(case when len(disorders) > 0 then disorders else ['none_recorded'] end)
    from patients
    union all
    select patient_key, 'history', case when has_it then flag else 'no_' || flag end
    from (
        unpivot patients
        on failed_trials_4plus, treatment_resistant, ect, tms, tms_esketamine, hospitalised, suicide_attempt, childhood_adversity, psychotherapy
        into name flag value has_it
    )
),

counted as (
    select m.stratifier, m.stratum, r.arm, r.instrument, r.subscale, r.visit, r.definition,
        count(*) as n_patients,
        count(*) filter (r.reason is null) as n,
        count(*) filter (r.responded) as k,
        count(*) filter (r.reason is not null) as n_undetermined,
        count(*) filter (r.reason is null and r.remitted) as k_remission
    from responders as r
    inner join memberships as m on m.patient_key = r.patient_key
    group by m.stratifier, m.stratum, r.arm, r.instrument, r.subscale, r.visit, r.definition
),

with_all_arms as (
    select * from counted
    union all
    select stratifier, stratum, 'all' as arm, instrument, subscale, visit, definition,
        sum(n_patients)::bigint, sum(n)::bigint, sum(k)::bigint, sum(n_undetermined)::bigint, sum(k_remission)::bigint
    from counted
    group by stratifier, stratum, instrument, subscale, visit, definition
)

select stratifier, stratum, arm, instrument, subscale, visit, definition, n_patients, n, k,
    case when n > 0 then k / n end as rate,
    wilson(k, n).low as low,
    wilson(k, n).high as high,
    n_undetermined, k_remission
from with_all_arms
order by stratifier, stratum, instrument, subscale, visit, definition, arm
