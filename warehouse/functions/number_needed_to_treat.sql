-- number_needed_to_treat(k1, n1, k2, n2, level := 0.95): patients to treat for one more success, as {estimate, low, high}.
-- 1. estimate = 1 / (p1 - p2); negative when group 1 does worse (then its size is the number needed to harm); null when p1 = p2
-- 2. low, high = 1 / the ends of newcombe() exchanged; null when that interval holds 0: the numbers then run through infinity
--    and no pair of ends describes them. Report newcombe() in that case.
-- Null as a whole when a group is empty.
-- Reference: Altman 1998, BMJ 317:1309; Bender 2001, Control Clin Trials 22:102 (by way of the score interval).
create macro number_needed_to_treat(k1, n1, k2, n2, level := 0.95) as
    list_transform(list_filter([newcombe(k1, n1, k2, n2, level := level)], lambda risk_: risk_ is not null), lambda risk_: {
        'estimate': 1e0 / nullif(risk_['estimate'], 0e0),
        'low': case when risk_['low'] * risk_['high'] > 0 then 1e0 / risk_['high'] end,
        'high': case when risk_['low'] * risk_['high'] > 0 then 1e0 / risk_['low'] end
    })[1];
comment on macro number_needed_to_treat is 'NNT by the Newcombe interval: {estimate, low, high}; negative for harm, no interval when the difference may be 0.';

-- assert: abs(number_needed_to_treat(61, 97, 23, 59).estimate - 4.183) < 5e-4
-- assert: abs(number_needed_to_treat(61, 97, 23, 59).low - 1 / newcombe(61, 97, 23, 59).high) < 1e-12
-- assert: number_needed_to_treat(1, 2, 2, 4) = {'estimate': null, 'low': null, 'high': null}
-- assert: number_needed_to_treat(5, 10, 6, 10).estimate < 0 and number_needed_to_treat(5, 10, 6, 10).low is null
-- assert: number_needed_to_treat(0, 0, 1, 2) is null
