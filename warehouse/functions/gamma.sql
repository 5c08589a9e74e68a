-- The gamma distribution of shape s >= 1/2 and scale 1, and what rests on it: the upper tail of chi-square.
-- 1. In y = |ln(t / x)| the smaller tail is front(s, x) * integral of e^phi(y) from 0, with phi concave and phi(0) = 0:
--    below x: phi = -s y - x (e^-y - 1);   above x: phi = s y - x (e^y - 1);   front = x^s e^-x / gamma(s)
-- 2. The integral ends where phi = -32 (two Newton steps from a parabola) and is summed over 32 Gauss-Legendre points
-- 3. Quantiles solve ln(tail) = ln(p) in ln x by Halley's rule: the slope is 1 / integral. Three steps from Wilson-Hilferty
--    or from (p gamma(s + 1))^(1 / s), whichever is further up
-- Relative error below 1e-9 in the smaller tail for s from 1/2, in a quantile for s from 1, both to 1e6.
-- Null when s < 1/2, when x is null or NaN, unless 0 < p < 1.
-- Reference: Wilson and Hilferty 1931, PNAS 17:684; the rest follows from the definition.
create macro log_ratio(x, y) as case when x between y / 2e0 and y * 2e0 then log_1_plus((x - y) / y) else ln(x / y) end;
comment on macro log_ratio is 'ln(x / y), exact where x is near y.';

create macro gamma_front(s, x) as s * log_ratio(x, s) - (x - s) + ln(s * 0.15915494309189535e0) / 2e0 - stirling_error(s);
comment on macro gamma_front is 'ln(x^s e^-x / gamma(s)).';

create macro gamma_integral(s, x, way) as list_transform([list_reduce([
    64e0 / (way * (x - s) + sqrt((x - s) * (x - s) + 64e0 * x)), 1e0, 2e0],
    lambda y_, i_: y_ - (way * s * y_ - x * exp_minus_1(way * y_) + 32e0) / (way * (s - x * exp(way * y_))))],
    lambda reach_: reach_ * list_dot_product(integrate_weights(), list_transform(integrate_nodes(),
        lambda u_: exp(way * s * reach_ * u_ - x * exp_minus_1(way * reach_ * u_)))))[1];
comment on macro gamma_integral is 'The tail of the gamma distribution over its front: below x when way is -1, above x when way is 1.';

create macro gamma_tail(s, x, way) as exp(gamma_front(s, x)) * gamma_integral(s, x, way);
comment on macro gamma_tail is 'Share of the gamma distribution below x (way -1) or above it (way 1), exact where that is the smaller side.';

create macro gamma_below(s, x) as list_transform([{'s': s::double, 'x': x::double}], lambda args_: case
    when args_['s'] between 0.5e0 and 9007199254740992e0 then case
        when args_['x'] <= 0 then 0e0
        when args_['x'] <= args_['s'] then gamma_tail(args_['s'], args_['x'], -1e0)
        when args_['x'] < 'infinity'::double then 1e0 - gamma_tail(args_['s'], args_['x'], 1e0)
        when args_['x'] = 'infinity'::double then 1e0 end end)[1];
comment on macro gamma_below is 'Regularised incomplete gamma P(s, x), s >= 1/2.';

create macro gamma_above(s, x) as list_transform([{'s': s::double, 'x': x::double}], lambda args_: case
    when args_['s'] between 0.5e0 and 9007199254740992e0 then case
        when args_['x'] <= 0 then 1e0
        when args_['x'] <= args_['s'] then 1e0 - gamma_tail(args_['s'], args_['x'], -1e0)
        when args_['x'] < 'infinity'::double then gamma_tail(args_['s'], args_['x'], 1e0)
        when args_['x'] = 'infinity'::double then 0e0 end end)[1];
comment on macro gamma_above is 'Regularised incomplete gamma Q(s, x), s >= 1/2.';

create macro chi_square_tail(x, df) as case
    when df = 1 then two_sided_p(sqrt(case when x > 0 then x else x * 0e0 end))
    else gamma_above(df / 2e0, x / 2e0) end;
comment on macro chi_square_tail is 'p-value of a chi-square statistic x with df degrees of freedom; null when df is 0.';

create macro halley_step(delta, bend) as list_transform([delta], lambda d_: d_ / greatest(1e0 + d_ * bend / 2e0, 0.5e0))[1];
comment on macro halley_step is 'One step of Halley from the Newton step delta, where bend is second over first derivative.';

create macro gamma_step(x, s, log_p, way) as list_transform([gamma_integral(s, x, way)], lambda area_: x * exp(halley_step(
    way * (gamma_front(s, x) + ln(greatest(area_, 1e-300)) - log_p) * area_, s - x + way / area_)))[1];
comment on macro gamma_step is 'One step towards the x whose tail is e^log_p.';

create macro gamma_start(s, z, log_p) as greatest(
    s * pow(greatest(1e0 - 1e0 / (9e0 * s) + z / (3e0 * sqrt(s)), 0e0), 3e0), exp((log_p + lgamma(s + 1e0)) / s));
comment on macro gamma_start is 'Where to begin the search for a quantile.';

create macro gamma_search(tail, s, way) as list_transform(
    [{'tail': tail, 's': s, 'z': -way * normal_quantile(tail)}], lambda of_: list_reduce([
        gamma_start(of_['s'], of_['z'], case when way < 0 then ln(of_['tail']) else log_1_plus(-of_['tail']) end), 1e0, 2e0, 3e0],
        lambda x_, i_: gamma_step(x_, of_['s'], ln(of_['tail']), way)))[1];
comment on macro gamma_search is 'x with this tail, at most 1/2, below it (way -1) or above it (way 1).';

create macro gamma_quantile(p, s) as list_transform([{'p': p::double, 's': s::double}], lambda args_: case
    when args_['s'] between 1e0 and 9007199254740992e0 and args_['p'] > 0 and args_['p'] < 1 then case
        when args_['p'] <= 0.5e0 then gamma_search(args_['p'], args_['s'], -1e0)
        else gamma_search(1e0 - args_['p'], args_['s'], 1e0) end end)[1];
comment on macro gamma_quantile is 'x with P(s, x) = p; null unless 0 < p < 1 and s >= 1.';

-- assert: abs(gamma_below(1, 0.5) - (1 - exp(-0.5))) < 1e-14
-- assert: abs(gamma_above(3, 10) / (exp(-10) * 61) - 1) < 1e-12
-- assert: abs(chi_square_tail(3.841458820694124, 1) - 0.05) < 1e-14
-- assert: abs(chi_square_tail(5.991464547107979, 2) - 0.05) < 1e-14
-- assert: abs(gamma_quantile(0.025, 1) + ln(0.975)) < 1e-14 and abs(gamma_quantile(0.975, 1) + ln(0.025)) < 1e-13
-- assert: chi_square_tail(1, 0) is null and chi_square_tail(0, 3) = 1 and gamma_quantile(0, 1) is null
-- assert: chi_square_tail(null, 1) is null and chi_square_tail('inf'::double, 1) = 0 and chi_square_tail('inf'::double, 2) = 0
-- assert: chi_square_tail('nan'::double, 1) is null and chi_square_tail('nan'::double, 2) is null and chi_square_tail(-1, 1) = 1
