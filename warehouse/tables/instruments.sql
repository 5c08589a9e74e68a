-- What the outcome definitions need to know about each score; from schemas/instruments.
-- Cut-offs of Jacobson and Truax: a = clinical mean 2 SD towards health, b = functional mean 2 SD towards illness,
-- c = between the two, weighted by their SDs. `cutoff` is c, else a published one, else b, else a, else the published end of the healthy
-- range (healthy itself); `cutoff_method` says which.
create table instruments (
    instrument varchar, subscale varchar, higher_is_worse boolean, is_primary boolean, remission_comparison varchar,
    remission_value double, sd double, sd_source varchar, reliability double, cutoff_a double, cutoff_b double, cutoff_c double,
    cutoff double, cutoff_method varchar, nhs_caseness double, nhs_reliable double, reliable_points double,
    important_value double, important_unit varchar, rated_comparison varchar, rated_value double, lowest double, highest double
);
comment on table instruments is 'Direction, remission cut and inputs of reliable change of every score.';
comment on column instruments.instrument is 'Instrument, as in schemas/instruments.';
comment on column instruments.subscale is 'Score of the instrument; total where it has one.';
comment on column instruments.higher_is_worse is 'True when a fall of the score is an improvement; null when no source says, and for a history or a rating of change.';
comment on column instruments.is_primary is 'The total, or every subscale of an instrument without a total.';
comment on column instruments.remission_comparison is 'How the score is compared with the cut: below or at_most; null without a published cut.';
comment on column instruments.remission_value is 'Remission cut [points].';
comment on column instruments.sd is 'Standard deviation for reliable change: that of the norms of the cut-off, else the most trusted [points].';
comment on column instruments.sd_source is 'Whose standard deviation it is.';
comment on column instruments.reliability is 'Reliability for reliable change.';
comment on column instruments.cutoff_a is 'Two standard deviations from the clinical mean towards health [points].';
comment on column instruments.cutoff_b is 'Two standard deviations from the functional mean towards illness [points].';
comment on column instruments.cutoff_c is 'As likely clinical as functional [points].';
comment on column instruments.cutoff is 'Cut-off of clinical significance in use [points]; null when none follows from what is published.';
comment on column instruments.cutoff_method is 'Where it comes from: c, published (from there on ill), b, a, or healthy_end (up to there healthy).';
comment on column instruments.nhs_caseness is 'From this score on a case for NHS Talking Therapies [points].';
comment on column instruments.nhs_reliable is 'From this change on reliable for NHS Talking Therapies [points].';
comment on column instruments.reliable_points is 'Published limit of reliable change where no standard deviation and reliability give one [points].';
comment on column instruments.important_value is 'Smallest change that is important to patients, in important_unit; null without a published one.';
comment on column instruments.important_unit is 'Unit of important_value: points, or percent of the baseline.';
comment on column instruments.rated_comparison is 'Of a rating of change: how it is compared with rated_value, at_most or at_least.';
comment on column instruments.rated_value is 'Of a rating of change: the rating from which on it is a response.';
comment on column instruments.lowest is 'Lowest possible score [points]; a drop is a share of the score itself, not of its distance from here.';
comment on column instruments.highest is 'Highest possible score [points].';

create table severity_bands (instrument varchar, subscale varchar, band varchar, from_score double);
comment on table severity_bands is 'Published severity bands: a score belongs to the last band whose lower end it reaches.';
comment on column severity_bands.instrument is 'Instrument, as in schemas/instruments.';
comment on column severity_bands.subscale is 'Score of the instrument.';
comment on column severity_bands.band is 'Name of the band, such as moderate.';
comment on column severity_bands.from_score is 'Lower end of the band [points].';
