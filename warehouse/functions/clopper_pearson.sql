-- clopper_pearson(k, n, level := 0.95): exact binomial interval of k successes among n, as {estimate, low, high} in shares of 1.
-- 1. estimate = k / n
-- 2. low  = quantile (1 - level) / 2 of beta(k, n - k + 1); 0 when k = 0
-- 3. high = 1 less that quantile of beta(n - k, k + 1); 1 when k = n
-- It covers at least `level` of the time, mostly more: wider than Wilson. Null when n is 0, or unless 0 <= k <= n and 0 < level < 1,
-- and when k or n is not whole: patients are counted here.
-- Reference: Clopper and Pearson 1934, Biometrika 26:404.
create macro clopper_pearson_logit(k, n, tail) as
    case when k = 0 then '-infinity'::double else beta_logit(tail, greatest(k, 1e0), n - k + 1e0) end;
comment on macro clopper_pearson_logit is 'Logit of the lower limit of k among n.';

create macro clopper_pearson(k, n, level := 0.95) as list_transform(
    list_filter(one_group(k, n, level), lambda g_: is_whole(g_['k']) and is_whole(g_['n'])),
    lambda g_: {
        'estimate': g_['k'] / g_['n'],
        'low': logistic(clopper_pearson_logit(g_['k'], g_['n'], g_['tail'])),
        'high': logistic(-clopper_pearson_logit(g_['n'] - g_['k'], g_['n'], g_['tail']))
    })[1];
comment on macro clopper_pearson is 'Clopper-Pearson exact interval of k among n: {estimate, low, high} as shares of 1; null when n is 0.';

-- assert: abs(clopper_pearson(61, 97).low - 0.524820) < 5e-7 and abs(clopper_pearson(61, 97).high - 0.724817) < 5e-7
-- assert: abs(clopper_pearson(23, 59).low - 0.265491) < 5e-7 and abs(clopper_pearson(23, 59).high - 0.525621) < 5e-7
-- assert: abs(clopper_pearson(205, 328).low - 0.570143) < 5e-7 and abs(clopper_pearson(205, 328).high - 0.677577) < 5e-7
-- assert: abs(clopper_pearson(108, 271).low - 0.339784) < 5e-7 and abs(clopper_pearson(108, 271).high - 0.459509) < 5e-7
-- assert: clopper_pearson(0, 12).low = 0 and abs(clopper_pearson(0, 12).high - 0.264648) < 5e-7
-- assert: abs(clopper_pearson(10, 10).low - 0.691503) < 5e-7 and clopper_pearson(10, 10).high = 1
-- assert: clopper_pearson(0, 0) is null and clopper_pearson(3, 2) is null and clopper_pearson(1, 2, level := 1) is null
-- assert: clopper_pearson(2.5, 10) is null and clopper_pearson(null, 10) is null and clopper_pearson(3, null) is null
-- assert: abs(clopper_pearson(1000, 1e9).low / 9.389730e-7 - 1) < 1e-6
