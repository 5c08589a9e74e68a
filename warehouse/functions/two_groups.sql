-- two_groups(k1, n1, k2, n2, level): whether a comparison of k1 among n1 with k2 among n2 can be made at all.
-- True when both groups have members, no k is above its n and the level lies inside (0, 1); otherwise false or null.
create macro two_groups(k1, n1, k2, n2, level) as n1 > 0 and n2 > 0 and k1 between 0 and n1 and k2 between 0 and n2
    and level > 0 and level < 1;
comment on macro two_groups is 'Whether k1 of n1 and k2 of n2 can be compared: groups not empty, 0 <= k <= n, 0 < level < 1.';

-- assert: two_groups(1, 2, 0, 3, 0.95) and not two_groups(1, 0, 0, 3, 0.95) and not two_groups(4, 2, 0, 3, 0.95)
-- assert: two_groups(null, 2, 0, 3, 0.95) is null and not two_groups(1, 2, 0, 3, 1)
