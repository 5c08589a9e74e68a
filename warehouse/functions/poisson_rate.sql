-- poisson_rate(events, exposure, level := 0.95): events per unit of time with the exact interval, as {estimate, low, high}.
-- 1. estimate = events / exposure
-- 2. low  = quantile (1 - level) / 2 of gamma(events) / exposure; 0 when there are no events
-- 3. high = quantile 1 - (1 - level) / 2 of gamma(events + 1) / exposure
-- Exposure is time at risk: events per patient-year when it is in patient-years. Null when it is not positive or events is negative.
-- Reference: Garwood 1936, Biometrika 28:437.
create macro poisson_rate(events, exposure, level := 0.95) as case when events >= 0 and exposure > 0 and two_sided_z(level) > 0 then {
    'estimate': events::double / exposure,
    'low': case when events = 0 then 0e0 else gamma_quantile((1e0 - level::double) / 2e0, events) / exposure end,
    'high': gamma_quantile((1e0 + level::double) / 2e0, events::double + 1e0) / exposure
} end;
comment on macro poisson_rate is 'Rate of events with the exact Poisson interval: {estimate, low, high}; null when the time is 0.';

-- assert: poisson_rate(0, 1).low = 0 and abs(poisson_rate(0, 1).high + ln(0.025)) < 1e-12
-- assert: abs(poisson_rate(10, 2).low - 2.397694) < 5e-7 and abs(poisson_rate(10, 2).high - 9.195178) < 5e-7
-- assert: poisson_rate(3, 0) is null and poisson_rate(-1, 2) is null and poisson_rate(null, 2) is null
