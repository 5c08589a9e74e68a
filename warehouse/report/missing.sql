-- Why a response could not be determined: patients by the reason given.
select instrument, subscale, visit, reason, count(*) as patients
from responders
where definition = 'drop_50' and reason is not null
    and (instrument, subscale) not in (select (instrument, subscale) from instruments where not is_primary)
group by all
order by instrument, subscale, visit, patients desc, reason
