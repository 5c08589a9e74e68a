-- risk_ratio(k1, n1, k2, n2, level := 0.95): p1 / p2 with the log interval, as {estimate, low, high}.
-- 1. estimate = (k1 / n1) / (k2 / n2); null when k2 is 0
-- 2. se = sqrt(1 / k1 - 1 / n1 + 1 / k2 - 1 / n2) of its logarithm; low, high = estimate * e^(-+ z * se); null when k1 or k2 is 0
-- No half patient is added to an empty cell. Null as a whole when a group is empty.
-- Reference: Katz 1978, Biometrics 34:469.
create macro ratio_interval(ratio, se, z) as {
    'estimate': ratio,
    'low': case when ratio > 0 then ratio * exp(-z * se) end,
    'high': case when ratio > 0 then ratio * exp(z * se) end
};
comment on macro ratio_interval is 'A ratio with the interval of its logarithm: {estimate, low, high}; no ends for a ratio of 0.';

create macro log_interval_of_risks(k1, n1, k2, n2, z) as ratio_interval(
    case when k2 > 0 then (k1 / n1) / (k2 / n2) end,
    case when k1 > 0 and k2 > 0 then sqrt(greatest(1e0 / k1 - 1e0 / n1 + 1e0 / k2 - 1e0 / n2, 0e0)) end, z);
comment on macro log_interval_of_risks is 'risk_ratio() of doubles that can be compared.';

create macro risk_ratio(k1, n1, k2, n2, level := 0.95) as list_transform(two_groups(k1, n1, k2, n2, level),
    lambda g_: log_interval_of_risks(g_['k1'], g_['n1'], g_['k2'], g_['n2'], g_['z']))[1];
comment on macro risk_ratio is 'Risk ratio with the log interval: {estimate, low, high}; no estimate at k2 = 0, no interval at k1 = 0 or k2 = 0.';

-- assert: abs(risk_ratio(61, 97, 23, 59).estimate - 1.613178) < 5e-7
-- assert: abs(risk_ratio(61, 97, 23, 59).low - 1.132303) < 5e-7 and abs(risk_ratio(61, 97, 23, 59).high - 2.298275) < 5e-7
-- assert: abs(risk_ratio(205, 328, 108, 271).estimate - 1.568287) < 5e-7
-- assert: abs(risk_ratio(205, 328, 108, 271).low - 1.324982) < 5e-7 and abs(risk_ratio(205, 328, 108, 271).high - 1.856270) < 5e-7
-- assert: risk_ratio(0, 5, 2, 5) = {'estimate': 0e0, 'low': null, 'high': null}
-- assert: risk_ratio(2, 5, 0, 5).estimate is null and risk_ratio(2, 5, 0, 5).high is null and risk_ratio(0, 0, 1, 2) is null
