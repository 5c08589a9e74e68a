-- One row per check of the audit that let this load be published.
create table quality_results (
    load bigint, "table" varchar, rule varchar, severity varchar, success boolean, failed_rows bigint, total_rows bigint,
    meaning varchar, owner varchar, sample varchar[], query varchar
);
comment on table quality_results is 'One row per check of the audit before publication.';
comment on column quality_results.load is 'Load that was audited.';
comment on column quality_results."table" is 'What was checked: a table, or load for the load as a whole.';
comment on column quality_results.rule is 'Name of the rule, as in the contract of the table.';
comment on column quality_results.severity is 'critical holds the load back, warning publishes with a flag, info is only recorded.';
comment on column quality_results.success is 'True when no row failed.';
comment on column quality_results.failed_rows is 'Rows that failed; null where a check does not count rows.';
comment on column quality_results.total_rows is 'Rows that were looked at; null where a check does not count rows.';
comment on column quality_results.meaning is 'What a failure means, in the words of the contract.';
comment on column quality_results.owner is 'Who answers for it, and is told when it fails.';
comment on column quality_results.sample is 'Up to five keys of failing rows: pseudonyms, or file and line; never values.';
comment on column quality_results.query is 'SQL that shows all failing rows.';
