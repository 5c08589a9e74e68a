create table freshness (
    source varchar, rows bigint, last_known_at timestamp with time zone, freshness_days double, late boolean
);
comment on table freshness is 'One row per source: how much of it there is and when the latest of it reached us.';
comment on column freshness.source is 'Source table, as its contract is named.';
comment on column freshness.rows is 'Distinct facts held, whatever became of them.';
comment on column freshness.last_known_at is 'When the latest fact became known; null when there is none.';
comment on column freshness.freshness_days is 'Longest time without news the owner promises; null when none is promised [d].';
comment on column freshness.late is 'True when the promise was broken at the time of the build; null without a promise or without a fact.';
