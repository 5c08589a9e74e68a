-- The definitions, windows and landmark from which the SQL of the marts joins its numbers; from schemas/definitions.
create table outcome_definitions (
    definition varchar, label varchar, rule varchar, scores varchar, parameters map(varchar, double), source varchar, confidence varchar
);
comment on table outcome_definitions is 'What each definition of an outcome means. Every number of the marts names one.';
comment on column outcome_definitions.definition is 'Id of the definition, as in every mart.';
comment on column outcome_definitions.label is 'Its name for people.';
comment on column outcome_definitions.rule is 'What has to hold for a response, in words.';
comment on column outcome_definitions.source is 'Where the rule comes from.';
comment on column outcome_definitions.scores is 'For which scores it is worked out.';
comment on column outcome_definitions.parameters is 'Numbers of the rule; percent are of the baseline.';
comment on column outcome_definitions.confidence is 'S read in the source, C computed, K recalled with high (+), medium (~) or low (-) confidence.';

create table visit_windows (
    visit varchar, kind varchar, target_d integer, from_d integer, to_d integer, shown varchar, source varchar, confidence varchar
);
comment on table visit_windows is 'When a score counts for what: days of 86,400 s after the index date, both ends included.';
comment on column visit_windows.visit is 'Id of the visit, as in every mart.';
comment on column visit_windows.shown is 'always, or reached: once somebody was assessed in the window or later.';
comment on column visit_windows.source is 'Where the window comes from.';
comment on column visit_windows.confidence is 'As in outcome_definitions.';
comment on column visit_windows.kind is 'baseline, visit, period, or landmark (where the arms are decided).';
comment on column visit_windows.target_d is 'Day the visit is meant for; the nearest score counts, of two equally near the later [d].';
comment on column visit_windows.from_d is 'First day [d].';
comment on column visit_windows.to_d is 'Last day [d].';

create table benefits (domain varchar, instrument varchar, subscale varchar, value double, unit varchar, source varchar, confidence varchar);
comment on table benefits is 'Which score stands for which domain of the tripartite definition, and from which change on it is a benefit.';
comment on column benefits.domain is 'symptoms, function or quality_of_life.';
comment on column benefits.instrument is 'Instrument that stands for the domain.';
comment on column benefits.subscale is 'Score of the instrument.';
comment on column benefits.unit is 'percent (of the baseline) or points.';
comment on column benefits.source is 'Where the value comes from.';
comment on column benefits.confidence is 'As in outcome_definitions.';
comment on column benefits.value is 'Least change for the better: percent of the baseline, or points.';

create macro definition_parameter(which, name) as (select d.parameters[name] from outcome_definitions as d where d.definition = which);
comment on macro definition_parameter is 'One number of a definition, such as definition_parameter(''drop_50'', ''drop_percent'').';
