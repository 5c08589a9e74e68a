-- Visit windows: which days after the index date count for which visit.
select visit, kind, target_d, from_d, to_d, source, confidence
from visit_windows
order by to_d
