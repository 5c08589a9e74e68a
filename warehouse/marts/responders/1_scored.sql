-- Scores by the day after the index date, patients and scales as small numbers: what every definition starts from.
-- 1. people = patients with what a row of a mart says of them; start_us = the activation where it follows the index date by the landmark
--    (implanted at the index date, switched on two weeks later), else the index date: what comes after it is follow-up. scales = scores whose direction a source states (instruments), and
--    ratings of change, whose direction is null; windows = visits, those of later years once somebody has reached them
-- 2. scored = one row per score of a known patient and scale; after_us is null without an index date, score null when unscorable.
--    turn orders the scores of a patient and scale: by instant, of several at the same instant the worse last (tie: thousandths of
--    a point, below them the response key)
-- 3. asked  = one row per patient and scale ever asked for, with the baseline: the last scorable score from the baseline window up to
--    the start that is not after the first activation; under stimulation a score is no baseline, even within the window (late_baseline)
-- A scale nobody described, and a score of a patient nobody registered, are in no definition.
create temp table people as
select row_number() over (order by patient_key)::integer as patient, patient_key, arm, modality,
    epoch_us(index_at) as index_us, epoch_us(activated_at) - epoch_us(index_at) as activated_us,
    case when activated_us between 0 and landmark_us then activated_us else 0 end as start_us
from patients
cross join (select target_d * 86400000000 as landmark_us from visit_windows where kind = 'landmark');

create temp table scales as
select row_number() over (order by instrument, subscale)::smallint as scale, *
from instruments
where higher_is_worse is not null or rated_value is not null;

create temp table scored as
select p.patient, c.scale, epoch_us(s.completed_at) - p.index_us as after_us, s.score, after_us > p.start_us as is_after,
    ('0x' || s.response_key)::ubigint as response,
    (round(case when c.higher_is_worse is false then 4294967 - s.score else s.score end * 1000)::uinteger::ubigint << 32) | (response >> 32) as tie,
    (epoch_us(s.completed_at) - p.index_us)::hugeint * 18446744073709551616 + tie as turn
from scores as s
inner join people as p on p.patient_key = s.patient_key
inner join scales as c on c.instrument = s.instrument and c.subscale = s.subscale;

create temp table windows as
select visit, kind, target_d * 86400000000 as target_us, from_d * 86400000000 as from_us, to_d * 86400000000 as to_us
from visit_windows
where shown = 'always' or from_d * 86400000000 <= (select max(after_us) from scored where score is not null);

create temp table asked as
select s.patient, s.scale, any_value(p.index_us) as index_us,
    max_by(s.score, s.turn) filter (s.score is not null and s.after_us between w.from_us and least(greatest(w.to_us, p.start_us), p.activated_us)) as baseline,
    bool_or(s.score is not null and s.after_us between w.from_us and w.to_us and s.after_us > p.activated_us) as late_baseline
from scored as s
inner join people as p on p.patient = s.patient
cross join (from windows where kind = 'baseline') as w
group by s.patient, s.scale;
