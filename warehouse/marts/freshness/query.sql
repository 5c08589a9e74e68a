-- Freshness: one row per source.
-- 1. rows          = distinct facts of the source, whatever became of them (accepted, pending, superseded, withdrawn)
-- 2. last_known_at = when the latest of them became known (landing time, or the source's receipt time where it is trusted)
-- 3. late          = longer ago than the days its owner promised; a source without a promise, or without a fact, is never late
-- Reads `facts` (source, known_at, n) and `promises` (source, freshness_days).
select p.source, coalesce(sum(f.n), 0)::bigint as rows, max(f.known_at) as last_known_at, any_value(p.freshness_days) as freshness_days,
    epoch_us(now()) - epoch_us(max(f.known_at)) > any_value(p.freshness_days) * 86400000000 as late
from promises as p
left join facts as f on f.source = p.source
group by p.source
order by p.source
