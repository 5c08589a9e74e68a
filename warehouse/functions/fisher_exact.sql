-- fisher_exact(k1, n1, k2, n2): exact two-sided p-value that two shares are equal, given the margins.
-- 1. A table with x successes in group 1 has the hypergeometric probability C(n1, x) C(n2, m - x) / C(N, m), m = k1 + k2
-- 2. p = sum over all tables that are no more probable than the one seen (to a relative 1e-7, so that ties count)
-- One number, not an interval; null when a group is empty, and when a number is not whole: patients are counted here.
-- The sum visits every possible table: meant for N up to some 10,000, and null above 1,000,000, where chi_square() says the same.
-- Reference: Fisher 1935, J R Stat Soc 98:39; the two-sided rule of R and scipy.
create macro log_choose(n, k) as lgamma(n + 1e0) - lgamma(k + 1e0) - lgamma(n - k + 1e0);
comment on macro log_choose is 'ln of the binomial coefficient.';

create macro log_hypergeometric(x, n, m, other) as log_choose(n, x) + log_choose(other, m - x);
comment on macro log_hypergeometric is 'ln of the probability of x successes among n of m among n + other, but for a constant.';

create macro hypergeometric_ratios(seen, n, m, other) as list_transform(
    range(greatest(m - other, 0e0)::bigint, least(m, n)::bigint + 1), lambda x_: log_hypergeometric(x_, n, m, other) - seen);
comment on macro hypergeometric_ratios is 'ln of the probability of every table with these margins less seen, that of the one seen.';

create macro fisher_exact(k1, n1, k2, n2) as list_transform(list_transform(list_transform(list_filter(two_groups(k1, n1, k2, n2, 0.95),
    lambda g_: g_['n1'] + g_['n2'] <= 1e6 and is_whole(g_['k1']) and is_whole(g_['n1']) and is_whole(g_['k2']) and is_whole(g_['n2'])),
    lambda g_: {'seen': log_hypergeometric(g_['k1'], g_['n1'], g_['k1'] + g_['k2'], g_['n2']),
        'n': g_['n1'], 'm': g_['k1'] + g_['k2'], 'other': g_['n2']}),
    lambda h_: hypergeometric_ratios(h_['seen'], h_['n'], h_['m'], h_['other'])),
    lambda all_: least(list_sum(list_transform(all_, lambda l_: case when l_ <= 1e-7 then exp(l_) else 0e0 end))
        / list_sum(list_transform(all_, lambda l_: exp(l_))), 1e0))[1];
comment on macro fisher_exact is 'Fisher exact two-sided p-value of k1 of n1 against k2 of n2; null when a group is empty.';

-- assert: abs(fisher_exact(61, 97, 23, 59) - 0.004816) < 5e-7
-- assert: abs(fisher_exact(3, 4, 1, 4) - 34 / 70) < 1e-12 and fisher_exact(0, 3, 0, 4) = 1
-- assert: fisher_exact(0, 0, 1, 2) is null and fisher_exact(3, 2, 1, 2) is null
-- assert: fisher_exact(2.5, 10, 2, 10) is null and fisher_exact(1, 1000000, 2, 1) is null and fisher_exact(1, 999999, 1, 1) < 1e-5
