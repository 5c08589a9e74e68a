-- One row: which load this file shows, and what is known about it.
create table vnsight_meta (
    load bigint, published_at timestamp with time zone, known_by timestamp with time zone, versions varchar, flags varchar[]
);
comment on table vnsight_meta is 'One row: the load this file shows.';
comment on column vnsight_meta.load is 'Number of the load; 0 before the first.';
comment on column vnsight_meta.published_at is 'When this file was put in place.';
comment on column vnsight_meta.known_by is 'Set for a rebuild of past knowledge: facts known later are not in it. Null: all facts.';
comment on column vnsight_meta.versions is 'JSON: version of every Delta table that belongs to the load.';
comment on column vnsight_meta.flags is 'Warnings of the audit with which it was published, each table: rule.';
