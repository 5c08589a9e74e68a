-- What every comparison begins with: its arguments as doubles, each worked out once, or nothing at all.
-- is_share(k, n): whether k among n is one: n > 0 and 0 <= k <= n, n up to 2^53, where doubles still count one by one
-- one_group(k, n, level): a list of one {k, n, z, tail}, or of none
--    when k among n is no share or the level is not inside (0, 1); tail = (1 - level) / 2
-- two_groups(k1, n1, k2, n2, level): a list of one {k1, n1, k2, n2, z}, or of none
-- table_z(level, asked): the z of a level for a function over a table, which has no null to give: an error when there is none
-- The first element of an empty list is null: that is how the functions over them give null for what cannot be.
-- An argument must not stand in the body of a lambda: a column with the name of its parameter would be mistaken for it, and
-- a subquery is not allowed there. A field of a parameter is written g_['k'], as g_.k is taken for a column in HAVING.
-- NaN is above everything in DuckDB, so it is the upper bounds that keep it out.
create macro is_share(k, n) as n > 0 and n <= 9007199254740992e0 and k between 0 and n;
comment on macro is_share is 'Whether k of n is a share: 0 < n <= 2^53 and 0 <= k <= n.';

create macro is_whole(x) as trunc(x) = x;
comment on macro is_whole is 'Whether x is a whole number.';

create macro one_group(k, n, level) as list_filter(
    [{'k': k::double, 'n': n::double, 'z': two_sided_z(level), 'tail': (1e0 - level::double) / 2e0}],
    lambda g_: is_share(g_['k'], g_['n']) and g_['z'] > 0);
comment on macro one_group is 'One {k, n, z, tail} as doubles in a list; an empty list when k of n is no share or the level is outside (0, 1).';

create macro two_groups(k1, n1, k2, n2, level) as list_filter(
    [{'k1': k1::double, 'n1': n1::double, 'k2': k2::double, 'n2': n2::double, 'z': two_sided_z(level)}],
    lambda g_: is_share(g_['k1'], g_['n1']) and is_share(g_['k2'], g_['n2']) and g_['z'] > 0);
comment on macro two_groups is 'One {k1, n1, k2, n2, z} as doubles in a list; an empty list when they cannot be compared.';

create macro table_z(level, asked) as coalesce(two_sided_z(level),
    error(asked || ': level must lie between 0 and 1, both excluded; 0.95 is 95 %'));
comment on macro table_z is 'two_sided_z(level) for a function over a table, where a level that cannot be is an error.';

-- assert: is_share(0, 1) and is_share(1, 1) and not is_share(0, 0) and not is_share(2, 1) and is_share(null, 1) is null
-- assert: not is_share(1, 'nan'::double) and not is_share('nan'::double, 2) and not is_share(1, 'inf'::double)
-- assert: one_group(1, 2, 0.95)[1].n = 2 and one_group(1, 0, 0.95) = [] and one_group(1, 2, 1) = []
-- assert: two_groups(1, 2, 0, 3, 0.95)[1].n2 = 3 and two_groups(1, 0, 0, 3, 0.95) = [] and two_groups(4, 2, 0, 3, 0.95) = []
-- assert: two_groups(null, 2, 0, 3, 0.95) = [] and two_groups(1, 2, 0, 3, null) = []
