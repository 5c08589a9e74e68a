-- What was seen of every patient and scale by each visit.
-- 1. follow_up   = scorable score nearest to the target day of the visit window; equally near: the later, then the worse
-- 2. carried     = the follow-up, else the last scorable score after the start and before the end of the window (LOCF)
-- 3. base_reason = why there is no baseline, by the first that holds: no_index, baseline_after_activation (there are scores in the
--    window, all under stimulation), no_baseline
-- The dose is that of the 28 days before the follow-up, null where that window is not configured.
create temp table seen as
with nearness as (
    select s.patient, s.scale, v.visit, s.score, s.after_us, s.response, s.turn,
        case when s.after_us between v.from_us and v.to_us then
            -(2 * abs(s.after_us - v.target_us) + (s.after_us < v.target_us)::bigint)::hugeint * 18446744073709551616 + s.tie
        end as nearness
    from scored as s
    inner join windows as v on v.kind = 'visit' and s.is_after and s.after_us <= v.to_us
    where s.score is not null
)

select patient, scale, visit,
    max_by(score, nearness) filter (nearness is not null) as follow_up,
    max_by(after_us, nearness) filter (nearness is not null) as follow_up_us,
    max_by(response, nearness) filter (nearness is not null) as response,
    max_by(score, turn) as last_score, max(after_us) as last_us
from nearness
group by patient, scale, visit;

create temp table compared as
with dose as (
    select response_key, subscale, charge_pc_28d, on_ms_28d, coverage_28d
    from dose_28d
)

select a.patient, a.scale, v.visit, v.to_us, a.baseline, s.follow_up, s.follow_up_us, s.last_score, s.last_us,
    coalesce(s.follow_up, s.last_score) as carried, coalesce(s.follow_up_us, s.last_us) as carried_us,
    d.charge_pc_28d, d.on_ms_28d, d.coverage_28d,
    case
        when a.index_us is null then 'no_index'
        when a.baseline is null and a.late_baseline then 'baseline_after_activation'
        when a.baseline is null then 'no_baseline'
    end as base_reason
from asked as a
cross join (from windows where kind = 'visit') as v
inner join scales as c on c.scale = a.scale
left join seen as s on s.patient = a.patient and s.scale = a.scale and s.visit = v.visit
left join dose as d on ('0x' || d.response_key)::ubigint = s.response and d.subscale = c.subscale;
