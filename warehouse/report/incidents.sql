-- Open quality incidents: checks of the audit that failed, worst first, and who owns the data.
select "table", rule, severity, failed_rows, total_rows, meaning, owner
from quality_results
where not success
order by case severity when 'critical' then 1 when 'warning' then 2 else 3 end, failed_rows desc nulls last, "table", rule
