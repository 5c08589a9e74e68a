-- wilson(k, n, level := 0.95): Wilson score interval of k successes among n, as {estimate, low, high} in shares of 1.
-- 1. p = k / n, z = two_sided_z(level), 1.959963984540054 for 95 %
-- 2. centre = (p + z^2 / 2n) / (1 + z^2 / n)
-- 3. half   = z * sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)
-- 4. the interval is cut to [0, 1] and ends there at k = 0 and k = n, as it does but for rounding
-- Unlike the textbook interval p +- z * se it stays inside [0, 1] and does not collapse at 0 of n.
-- Null when n is 0, or unless 0 <= k <= n and 0 < level < 1.
-- Reference: Wilson 1927, J Am Stat Assoc 22:209; Newcombe 1998, Stat Med 17:857 (method 3).
create macro wilson_end(k, n, z) as case
    when k = 0 and z < 0 then 0e0
    when k = n and z > 0 then 1e0
    else (k / n + z * z / (2e0 * n) + z * sqrt(k / n * (1e0 - k / n) / n + z * z / (4e0 * n * n))) / (1e0 + z * z / n) end;
comment on macro wilson_end is 'One end of the Wilson interval: the lower one for -z, the upper one for z.';

create macro wilson(k, n, level := 0.95) as list_transform(one_group(k, n, level), lambda g_: {
    'estimate': g_['k'] / g_['n'], 'low': wilson_end(g_['k'], g_['n'], -g_['z']), 'high': wilson_end(g_['k'], g_['n'], g_['z']) })[1];
comment on macro wilson is 'Wilson score interval of k among n: {estimate, low, high} as shares of 1; null when n is 0.';

-- assert: abs(wilson(61, 97).low - 0.529538) < 5e-7 and abs(wilson(61, 97).high - 0.718376) < 5e-7
-- assert: abs(wilson(23, 59).low - 0.275794) < 5e-7 and abs(wilson(23, 59).high - 0.517337) < 5e-7
-- assert: abs(wilson(205, 328).low - 0.571445) < 5e-7 and abs(wilson(205, 328).high - 0.675661) < 5e-7
-- assert: abs(wilson(108, 271).low - 0.342043) < 5e-7 and abs(wilson(108, 271).high - 0.457842) < 5e-7
-- assert: wilson(0, 12).low = 0 and abs(wilson(0, 12).high - 0.242494) < 5e-7
-- assert: abs(wilson(10, 10).low - 0.722467) < 5e-7 and wilson(10, 10).high = 1
-- assert: wilson(0, 0) is null and wilson(3, 2) is null and wilson(null, 2) is null and wilson(1, 2, level := 0) is null
