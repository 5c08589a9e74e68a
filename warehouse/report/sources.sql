-- What became of the data: rows of every source by the bin they ended in, whether the ledger is closed, and how fresh it is.
-- A file is unbalanced when its bins do not add up to the rows that were read from it; late is a broken promise of freshness.
with files as (
    select load, source, file, max("read") as rows_read, sum(rows) as binned,
        coalesce(sum(rows) filter (bin = 'accepted'), 0) as accepted,
        coalesce(sum(rows) filter (bin = 'duplicate'), 0) as duplicate,
        coalesce(sum(rows) filter (bin = 'superseded'), 0) as superseded,
        coalesce(sum(rows) filter (bin = 'pending'), 0) as pending,
        coalesce(sum(rows) filter (bin = 'quarantined'), 0) as quarantined,
        coalesce(sum(rows) filter (bin = 'withdrawn'), 0) as withdrawn
    from ledger
    group by load, source, file
),

booked as (
    select source, count(distinct file) as files, sum(rows_read)::bigint as rows_read, sum(accepted)::bigint as accepted,
        sum(duplicate)::bigint as duplicate, sum(superseded)::bigint as superseded, sum(pending)::bigint as pending,
        sum(quarantined)::bigint as quarantined, sum(withdrawn)::bigint as withdrawn,
        count(*) filter (rows_read <> binned) as unbalanced_files
    from files
    group by source
)

select coalesce(b.source, f.source) as source, b.* exclude (source), f.last_known_at, f.freshness_days, f.late
from booked as b
full join freshness as f on f.source = b.source
order by 1
