-- chi_square(k1, n1, k2, n2): Pearson's test that two shares are equal, as {statistic, p}.
-- 1. statistic = N (a d - b c)^2 / (n1 n2 m (N - m)) with N = n1 + n2 and m = k1 + k2; no continuity correction
-- 2. p = upper tail of chi-square with 1 degree of freedom
-- Null when a group is empty or a margin is (nobody or everybody succeeded). With an expected cell below 5 ask fisher_exact().
-- Reference: Pearson 1900, Phil Mag 50:157.
create macro chi_square_statistic(k1, n1, k2, n2) as case when k1 + k2 > 0 and k1 + k2 < n1 + n2 then
    (n1 + n2) * pow(k1 / n1 - k2 / n2, 2) * (n1 / (k1 + k2)) * (n2 / (n1 - k1 + n2 - k2)) end;
comment on macro chi_square_statistic is 'Pearson chi-square of a fourfold table of doubles; null when a margin is empty.';

create macro chi_square(k1, n1, k2, n2) as list_transform(list_filter(list_transform(two_groups(k1, n1, k2, n2, 0.95),
    lambda g_: chi_square_statistic(g_['k1'], g_['n1'], g_['k2'], g_['n2'])), lambda x_: x_ is not null),
    lambda x_: { 'statistic': x_, 'p': two_sided_p(sqrt(x_)) })[1];
comment on macro chi_square is 'Pearson chi-square test without correction: {statistic, p}; null when a margin is empty.';

-- assert: abs(chi_square(61, 97, 23, 59).statistic - 8.43454) < 5e-6 and abs(chi_square(61, 97, 23, 59).p - 0.003682) < 5e-7
-- assert: abs(chi_square(205, 328, 108, 271).statistic - 30.50732) < 5e-6
-- assert: chi_square(0, 5, 0, 5) is null and chi_square(5, 5, 5, 5) is null and chi_square(0, 0, 1, 2) is null
-- assert: chi_square(1, 2, 2, 4) = {'statistic': 0e0, 'p': 1e0}
