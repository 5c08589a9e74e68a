-- odds_ratio(k1, n1, k2, n2, level := 0.95): odds of group 1 over odds of group 2 with the Woolf interval, as {estimate, low, high}.
-- 1. a = k1, b = n1 - k1, c = k2, d = n2 - k2; estimate = a d / (b c); null when b c is 0
-- 2. se = sqrt(1/a + 1/b + 1/c + 1/d) of its logarithm; low, high = estimate * e^(-+ z * se); null when any cell is 0
-- No half patient is added to an empty cell. Null as a whole when a group is empty.
-- Reference: Woolf 1955, Ann Hum Genet 19:251.
create macro woolf_interval(a, b, c, d, z) as ratio_interval(
    case when b > 0 and c > 0 then a / b * (d / c) end,
    case when least(a, b, c, d) > 0 then sqrt(1e0 / a + 1e0 / b + 1e0 / c + 1e0 / d) end, z);
comment on macro woolf_interval is 'odds_ratio() of the four cells, as doubles.';

create macro odds_ratio(k1, n1, k2, n2, level := 0.95) as list_transform(two_groups(k1, n1, k2, n2, level),
    lambda g_: woolf_interval(g_['k1'], g_['n1'] - g_['k1'], g_['k2'], g_['n2'] - g_['k2'], g_['z']))[1];
comment on macro odds_ratio is 'Odds ratio with the Woolf interval: {estimate, low, high}; no estimate at b c = 0, no interval at an empty cell.';

-- assert: abs(odds_ratio(61, 97, 23, 59).estimate - 2.652174) < 5e-7
-- assert: abs(odds_ratio(61, 97, 23, 59).low - 1.362730) < 5e-7 and abs(odds_ratio(61, 97, 23, 59).high - 5.161717) < 5e-7
-- assert: abs(odds_ratio(205, 328, 108, 271).estimate - 2.515432) < 5e-7
-- assert: abs(odds_ratio(205, 328, 108, 271).low - 1.807838) < 5e-7 and abs(odds_ratio(205, 328, 108, 271).high - 3.499980) < 5e-7
-- assert: odds_ratio(0, 5, 2, 5) = {'estimate': 0e0, 'low': null, 'high': null}
-- assert: odds_ratio(5, 5, 2, 5).estimate is null and odds_ratio(2, 5, 0, 5).estimate is null and odds_ratio(0, 0, 1, 2) is null
