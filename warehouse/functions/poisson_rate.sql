-- poisson_rate(events, exposure, level := 0.95): events per unit of time with the exact interval, as {estimate, low, high}.
-- 1. estimate = events / exposure
-- 2. low  = quantile (1 - level) / 2 of gamma(events) / exposure; 0 when there are no events
-- 3. high = the x above which (1 - level) / 2 of gamma(events + 1) lies / exposure
-- Exposure is time at risk: events per patient-year when it is in patient-years. Null when it is not
-- positive or not finite, and when events is negative or not whole: events are counted here.
-- Reference: Garwood 1936, Biometrika 28:437.
create macro poisson_rate(events, exposure, level := 0.95) as list_transform(list_filter([{
        'events': events::double, 'exposure': exposure::double, 'tail': (1e0 - level::double) / 2e0 }],
    lambda g_: g_['events'] between 0 and 9007199254740992e0 and is_whole(g_['events']) and g_['exposure'] > 0
        and g_['exposure'] < 'infinity'::double and g_['tail'] > 0 and g_['tail'] < 0.5e0),
    lambda g_: {
        'estimate': g_['events'] / g_['exposure'],
        'low': case when g_['events'] = 0 then 0e0 else gamma_search(g_['tail'], greatest(g_['events'], 1e0), -1e0) / g_['exposure'] end,
        'high': gamma_search(g_['tail'], g_['events'] + 1e0, 1e0) / g_['exposure']
    })[1];
comment on macro poisson_rate is 'Rate of events with the exact Poisson interval: {estimate, low, high}; null when the time is 0.';

-- assert: poisson_rate(0, 1).low = 0 and abs(poisson_rate(0, 1).high + ln(0.025)) < 1e-12
-- assert: abs(poisson_rate(10, 2).low - 2.397694) < 5e-7 and abs(poisson_rate(10, 2).high - 9.195178) < 5e-7
-- assert: poisson_rate(3, 0) is null and poisson_rate(-1, 2) is null and poisson_rate(null, 2) is null
-- assert: poisson_rate(2.5, 1) is null and poisson_rate(1, 'inf'::double) is null and poisson_rate(1, 2, level := 95) is null
