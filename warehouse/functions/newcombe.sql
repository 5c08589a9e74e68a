-- newcombe(k1, n1, k2, n2, level := 0.95): difference of two shares with the hybrid score interval, as {estimate, low, high}.
-- 1. estimate = p1 - p2
-- 2. low  = estimate - sqrt((p1 - low1)^2 + (high2 - p2)^2), the ends being those of Wilson for each group
-- 3. high = estimate + sqrt((high1 - p1)^2 + (p2 - low2)^2)
-- It stays in [-1, 1] and holds its level with few patients, where that of risk_difference does not. Null when a group is empty.
-- Reference: Newcombe 1998, Stat Med 17:873 (method 10, no continuity correction).
create macro newcombe_reach(k1, n1, k2, n2, z) as
    sqrt(pow(wilson_end(k1, n1, z) - k1 / n1, 2) + pow(k2 / n2 - wilson_end(k2, n2, -z), 2));
comment on macro newcombe_reach is 'From the difference of two shares to its upper end, for -z to its lower end.';

create macro newcombe_interval(k1, n1, k2, n2, z) as {
    'estimate': k1 / n1 - k2 / n2,
    'low': k1 / n1 - k2 / n2 - newcombe_reach(k1, n1, k2, n2, -z),
    'high': k1 / n1 - k2 / n2 + newcombe_reach(k1, n1, k2, n2, z)
};
comment on macro newcombe_interval is 'newcombe() of doubles that can be compared.';

create macro newcombe(k1, n1, k2, n2, level := 0.95) as list_transform(two_groups(k1, n1, k2, n2, level),
    lambda g_: newcombe_interval(g_['k1'], g_['n1'], g_['k2'], g_['n2'], g_['z']))[1];
comment on macro newcombe is 'Risk difference with the Newcombe interval: {estimate, low, high}; null when a group is empty.';

-- assert: abs(newcombe(61, 97, 23, 59).estimate - 0.239035) < 5e-7
-- assert: abs(newcombe(61, 97, 23, 59).low - 0.077407) < 5e-7 and abs(newcombe(61, 97, 23, 59).high - 0.384006) < 5e-7
-- assert: abs(newcombe(205, 328, 108, 271).low - 0.146559) < 5e-7 and abs(newcombe(205, 328, 108, 271).high - 0.302349) < 5e-7
-- assert: newcombe(0, 0, 1, 2) is null and newcombe(1, 2, 0, 0) is null and newcombe(null, 1, 1, 2) is null
