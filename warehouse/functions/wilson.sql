-- wilson(k, n): Wilson score interval of k successes among n, as {'low', 'high'} in shares of 1; null when n is 0.
-- 1. p = k / n, z = 1.959963984540054 (95 %) unless given
-- 2. centre = (p + z^2 / 2n) / (1 + z^2 / n)
-- 3. half   = z * sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)
-- 4. the interval is cut to [0, 1], which removes rounding at k = 0 and k = n only
-- Unlike the textbook interval p +- z * se it stays inside [0, 1] and does not collapse at 0 of n.
-- Reference: Wilson 1927, J Am Stat Assoc 22:209; Newcombe 1998, Stat Med 17:857 (method 3).
create macro wilson(k, n, z := 1.959963984540054) as case when n > 0 then {
    'low': greatest(0.0, (k::double / n + z::double * z / (2 * n) - z::double * sqrt(
        k::double / n * (1 - k::double / n) / n + z::double * z / (4.0 * n * n))) / (1 + z::double * z / n)),
    'high': least(1.0, (k::double / n + z::double * z / (2 * n) + z::double * sqrt(
        k::double / n * (1 - k::double / n) / n + z::double * z / (4.0 * n * n))) / (1 + z::double * z / n))
} end;
comment on macro wilson is 'Wilson score interval of k among n: {low, high} as shares of 1; null when n is 0.';
