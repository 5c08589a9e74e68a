-- What this page shows: the load, when it was published, what was known, and how many patients and scores are in it.
select m.load, m.published_at, m.known_by, m.flags,
    (select count(*) from patients) as patients,
    (select count(*) from patients where modality is not null) as patients_with_device,
    (select count(*) from scores where subscale = 'total') as responses,
    (select to_d from visit_windows where kind = 'landmark') as landmark_d
from vnsight_meta as m
