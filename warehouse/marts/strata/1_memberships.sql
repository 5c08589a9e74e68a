-- Who belongs to which stratum; patients, strata and outcomes become small numbers because the counting below visits 200 million pairs.
-- 1. Everybody is in `all` and, for every other stratifier but two, in exactly one stratum; what is not recorded is `unknown`.
-- 2. disorder: one stratum per recorded disorder (none_recorded without any), so they overlap: a patient with two counts in both.
-- 3. history: a pair <flag>, no_<flag> per flag. ect_response, tms_response, epilepsy_intractable: only patients who can have one.
-- 4. A group holds strata that do not overlap and are tested for heterogeneity together: a stratifier; a flag; a disorder (2_counted).
-- 5. has_floor: the outcome asks for a share of the baseline of a scale that cannot fall to 0
-- Baseline severity depends on the score, not on the patient alone: it comes in with the outcomes (2_counted).
create temp table strata_of_patients as
with recorded as (
    select patient_key, 'all' as stratifier, 'all' as stratum
    from patients
    union all
    select patient_key, 'disorder', unnest(case when len(disorders) > 0 then disorders else ['none_recorded'] end)
    from patients
    union all
    select patient_key, 'history', case when has_it then flag else 'no_' || flag end
    from (
        unpivot patients
        on failed_trials_4plus, treatment_resistant, ect, tms, tms_esketamine, hospitalised, suicide_attempt, childhood_adversity,
            psychotherapy
        into name flag value has_it
    )
    union all
    select patient_key, unnest([
        {'stratifier': 'comorbidity', 'stratum': case when n_disorders >= 2 then 'two_or_more' else 'at_most_one' end},
        {'stratifier': 'polarity', 'stratum': coalesce(polarity, 'neither')},
        {'stratifier': 'epilepsy_intractable', 'stratum': case
            when epilepsy_intractable then 'yes' when not epilepsy_intractable then 'no' end},
        {'stratifier': 'failed_trials', 'stratum': case
            when failed_trials < 4 then failed_trials::varchar when failed_trials < 6 then '4-5' else '6+' end},
        {'stratifier': 'ect_response', 'stratum': case when ect_response then 'yes' when not ect_response then 'no' end},
        {'stratifier': 'tms_response', 'stratum': case when tms_response then 'yes' when not tms_response then 'no' end},
        {'stratifier': 'age_at_onset', 'stratum': coalesce(age_at_onset_band, 'unknown')},
        {'stratifier': 'age', 'stratum': coalesce(age_band, 'unknown')},
        {'stratifier': 'sex', 'stratum': coalesce(sex, 'unknown')},
        {'stratifier': 'site', 'stratum': coalesce(site, 'unknown')}
    ], recursive := true)
    from patients
)

select p.patient, r.stratifier, r.stratum
from recorded as r
inner join people as p on p.patient_key = r.patient_key
where r.stratum is not null;

create temp table stratum_names as
with named as (
    select distinct stratifier, stratum from strata_of_patients
    union
    select distinct 'baseline_severity', baseline_band from responders where baseline_band is not null
)

select row_number() over (order by stratifier, stratum)::smallint as stratum_id, stratifier, stratum,
    case stratifier when 'history' then regexp_replace(stratum, '^no_', '') when 'disorder' then stratum else stratifier end as tested_group
from named;

create temp table memberships as
select s.patient, n.stratum_id
from strata_of_patients as s
inner join stratum_names as n on n.stratifier = s.stratifier and n.stratum = s.stratum;

create temp table outcome_names as
select row_number() over (order by r.instrument, r.subscale, r.visit, r.definition)::smallint as outcome_id, r.*,
    coalesce(i.lowest > 0 and o.parameters['drop_percent'] is not null, false) as has_floor
from (select distinct instrument, subscale, visit, definition from responders) as r
left join instruments as i on i.instrument = r.instrument and i.subscale = r.subscale
left join outcome_definitions as o on o.definition = r.definition;
