-- Rows that were not accepted, by the rule that decided; a row that breaks several rules counts with each of them.
with ruled as (
    select source, bin, unnest(rules) as rule
    from dispositions
    where bin in ('quarantined', 'pending')
)

select source, bin, rule, count(*) as rows
from ruled
group by all
order by rows desc, source, bin, rule
limit 60
