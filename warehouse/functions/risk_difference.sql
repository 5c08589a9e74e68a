-- risk_difference(k1, n1, k2, n2, level := 0.95): p1 - p2 with the Wald interval, as {estimate, low, high}.
-- 1. estimate = k1 / n1 - k2 / n2
-- 2. se = sqrt(p1 (1 - p1) / n1 + p2 (1 - p2) / n2); low, high = estimate -+ z * se
-- The interval has no width when both shares are 0 or 1, and may leave [-1, 1]: newcombe() has neither fault.
-- Null when a group is empty.
-- Reference: Rothman, Greenland and Lash, Modern Epidemiology, ch. 14.
create macro risk_difference_error(k1, n1, k2, n2) as sqrt(
    k1::double / n1 * (1e0 - k1::double / n1) / n1 + k2::double / n2 * (1e0 - k2::double / n2) / n2);
comment on macro risk_difference_error is 'Standard error of k1 / n1 - k2 / n2.';

create macro difference_interval(difference, se, z) as { 'estimate': difference, 'low': difference - z * se, 'high': difference + z * se };
comment on macro difference_interval is 'A difference with the interval of its standard error: {estimate, low, high}.';

create macro risk_difference(k1, n1, k2, n2, level := 0.95) as list_transform(two_groups(k1, n1, k2, n2, level),
    lambda g_: difference_interval(g_['k1'] / g_['n1'] - g_['k2'] / g_['n2'],
        risk_difference_error(g_['k1'], g_['n1'], g_['k2'], g_['n2']), g_['z']))[1];
comment on macro risk_difference is 'Risk difference with the Wald interval: {estimate, low, high}; null when a group is empty.';

-- assert: abs(risk_difference(61, 97, 23, 59).estimate - 0.239035) < 5e-7
-- assert: abs(risk_difference(61, 97, 23, 59).low - 0.081777) < 5e-7 and abs(risk_difference(61, 97, 23, 59).high - 0.396294) < 5e-7
-- assert: abs(risk_difference(205, 328, 108, 271).estimate - 0.226476) < 5e-7
-- assert: risk_difference(0, 0, 1, 2) is null and risk_difference(1, 2, 0, 0) is null
