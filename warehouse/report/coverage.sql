-- How much was seen: patients with a determined response, and the share of the 28 days before in which the dose is known.
select instrument, subscale, visit, arm, n_patients, n, n_undetermined, coverage
from strata
where stratifier = 'all' and definition = 'drop_50' and method = 'observed'
    and (instrument, subscale) not in (select (instrument, subscale) from instruments where not is_primary)
order by instrument, subscale, visit, arm
