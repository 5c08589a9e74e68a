-- What the responder definitions need to know about each score; from schemas/instruments.
create table instruments (
    instrument varchar, subscale varchar, higher_is_worse boolean, remission_comparison varchar, remission_value double
);
comment on table instruments is 'Direction and remission cut of every score.';
comment on column instruments.higher_is_worse is 'True when a fall of the score is an improvement.';
comment on column instruments.remission_comparison is 'How the score is compared with the cut: below or at_most; null without a published cut.';
comment on column instruments.remission_value is 'Remission cut [points].';
