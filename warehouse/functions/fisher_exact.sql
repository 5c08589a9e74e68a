-- fisher_exact(k1, n1, k2, n2): exact two-sided p-value that two shares are equal, given the margins.
-- 1. A table with x successes in group 1 has the hypergeometric probability C(n1, x) C(n2, m - x) / C(N, m), m = k1 + k2
-- 2. p = sum over all tables that are no more probable than the one seen (to a relative 1e-7, so that ties count)
-- One number, not an interval; null when a group is empty. The sum visits every possible table: meant for N up to some 10,000.
-- Reference: Fisher 1935, J R Stat Soc 98:39; the two-sided rule of R and scipy.
create macro log_choose(n, k) as lgamma(n + 1e0) - lgamma(k + 1e0) - lgamma(n - k + 1e0);
comment on macro log_choose is 'ln of the binomial coefficient.';

create macro fisher_exact(k1, n1, k2, n2) as case when two_groups(k1, n1, k2, n2, 0.95) then list_transform(
    [{'k': k1::double, 'n': n1::double, 'other': n2::double, 'm': k1::double + k2}], lambda args_: list_transform(
    [log_choose(args_.n, args_.k) + log_choose(args_.other, args_.m - args_.k)], lambda seen_: list_transform([list_transform(
    range(greatest(args_.m - args_.other, 0e0)::bigint, least(args_.m, args_.n)::bigint + 1),
    lambda x_: log_choose(args_.n, x_) + log_choose(args_.other, args_.m - x_) - seen_)], lambda all_:
    least(list_sum(list_transform(all_, lambda l_: case when l_ <= 1e-7 then exp(l_) else 0e0 end))
        / list_sum(list_transform(all_, lambda l_: exp(l_))), 1e0))[1])[1])[1] end;
comment on macro fisher_exact is 'Fisher exact two-sided p-value of k1 of n1 against k2 of n2; null when a group is empty.';

-- assert: abs(fisher_exact(61, 97, 23, 59) - 0.004816) < 5e-7
-- assert: abs(fisher_exact(3, 4, 1, 4) - 34 / 70) < 1e-12 and fisher_exact(0, 3, 0, 4) = 1
-- assert: fisher_exact(0, 0, 1, 2) is null and fisher_exact(3, 2, 1, 2) is null
