-- interaction_contrast(k11, n11, k10, n10, k01, n01, k00, n00, level := 0.95): synergy of two treatments on the additive scale.
-- 1. 11 = both treatments (VNS and CBT), 10 = the first only, 01 = the second only, 00 = neither
-- 2. estimate = p11 - p10 - p01 + p00: how much more both together do than the sum of what each does alone
-- 3. low, high by the method of variance estimates recovery from the Wilson ends of the four shares: newcombe() for four groups
-- {estimate, low, high}; above 0 synergy, below 0 antagonism. Null when any of the four groups is empty.
-- These are associations unless patients were randomised to both.
-- Reference: Rothman, Greenland and Lash, Modern Epidemiology, ch. 5; Zou and Donner 2008, Stat Med 27:1693.
create macro half_width(k, n, z) as wilson_end(k, n, z) - k / n;
comment on macro half_width is 'From the share to one end of its Wilson interval, negative for -z.';

create macro contrast_spread(k11, n11, k10, n10, k01, n01, k00, n00, z) as sqrt(pow(half_width(k11, n11, z), 2)
    + pow(half_width(k10, n10, -z), 2) + pow(half_width(k01, n01, -z), 2) + pow(half_width(k00, n00, z), 2));
comment on macro contrast_spread is 'From the interaction contrast to its upper end, for -z to its lower end.';

create macro contrast_estimate(k11, n11, k10, n10, k01, n01, k00, n00) as
    k11::double / n11 - k10::double / n10 - k01::double / n01 + k00::double / n00;
comment on macro contrast_estimate is 'p11 - p10 - p01 + p00.';

create macro contrast_interval(k11, n11, k10, n10, k01, n01, k00, n00, z) as {
    'estimate': contrast_estimate(k11, n11, k10, n10, k01, n01, k00, n00),
    'low': contrast_estimate(k11, n11, k10, n10, k01, n01, k00, n00) - contrast_spread(k11, n11, k10, n10, k01, n01, k00, n00, -z),
    'high': contrast_estimate(k11, n11, k10, n10, k01, n01, k00, n00) + contrast_spread(k11, n11, k10, n10, k01, n01, k00, n00, z)
};
comment on macro contrast_interval is 'interaction_contrast() of doubles that can be compared.';

create macro interaction_contrast(k11, n11, k10, n10, k01, n01, k00, n00, level := 0.95) as list_transform(list_filter([{
        'k11': k11::double, 'n11': n11::double, 'k10': k10::double, 'n10': n10::double, 'k01': k01::double, 'n01': n01::double,
        'k00': k00::double, 'n00': n00::double, 'z': two_sided_z(level) }],
    lambda g_: is_share(g_['k11'], g_['n11']) and is_share(g_['k10'], g_['n10'])
        and is_share(g_['k01'], g_['n01']) and is_share(g_['k00'], g_['n00']) and g_['z'] > 0),
    lambda g_: contrast_interval(g_['k11'], g_['n11'], g_['k10'], g_['n10'],
        g_['k01'], g_['n01'], g_['k00'], g_['n00'], g_['z']))[1];
comment on macro interaction_contrast is 'p11 - p10 - p01 + p00 with a score interval: {estimate, low, high}; null when a group is empty.';

-- assert: abs(interaction_contrast(8, 10, 5, 10, 4, 10, 3, 10).estimate - 0.2) < 1e-15
-- assert: interaction_contrast(8, 10, 5, 10, 4, 10, 3, 10).low < 0 and interaction_contrast(8, 10, 5, 10, 4, 10, 3, 10).high > 0.4
-- assert: interaction_contrast(8, 10, 5, 10, 4, 10, 0, 0) is null
