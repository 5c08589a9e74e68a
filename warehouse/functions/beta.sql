-- The beta distribution with a, b >= 1: what exact binomial limits rest on.
-- 1. In the logit t = ln(x / (1 - x)) the lower tail is front(a, b, t) * integral of e^phi(y) from 0, with
--    phi = -a y - (a + b) ln(1 + x (e^-y - 1)) concave, phi(0) = 0, and front = x^a (1 - x)^b / B(a, b)
-- 2. The integral is summed as in gamma.sql; the upper tail is the lower one with a and b exchanged and t negated
-- 3. Quantiles solve ln(tail) = ln(p) in t by Halley's rule; two steps from Carter's approximation
--    or from (p a B(a, b))^(1 / a), whichever is further up
-- Relative error below 1e-12 for a + b up to 1e12: the smaller of x and 1 - x is never worked out from the other.
-- Null when a or b is below 1, or unless 0 <= x <= 1, 0 < p < 1.
-- Reference: Abramowitz and Stegun 26.5.22 (Carter 1947); the rest follows from the definition.
create macro logistic(t) as 1e0 / (1e0 + exp(-t));
comment on macro logistic is '1 / (1 + e^-t).';

create macro beta_scale(a, b) as ln(a / (a + b) * b * 0.15915494309189535e0) / 2e0
    + stirling_error(a + b) - stirling_error(a) - stirling_error(b);
comment on macro beta_scale is 'The part of ln(front) that does not depend on x.';

create macro log_share(off, x, a, whole) as case when abs(off) <= 0.5e0 then log_1_plus(off) else ln(x / (a / whole)) end;
comment on macro log_share is 'ln(x whole / a), exact where off, that ratio less 1, is near 0.';

create macro beta_pull(a, b, x, rest) as a * rest - b * x;
comment on macro beta_pull is 'a - (a + b) x, the slope of ln(front) over the logit, with rest = 1 - x.';

create macro beta_shape(a, b, x, rest) as a * log_share(-beta_pull(a, b, x, rest) / a, x, a, a + b)
    + b * log_share(beta_pull(a, b, x, rest) / b, rest, b, a + b);
comment on macro beta_shape is 'The part of ln(front) that depends on x.';

create macro beta_fall(a, b, x, rest, y) as case
    when x <= rest then a * y - 2e0 * (a + b) * atanh(x / (rest + 1e0 / tanh(y / 2e0)))
    else 2e0 * (a + b) * atanh(rest / (rest + exp(-y / 2e0) / sinh(y / 2e0))) - b * y end;
comment on macro beta_fall is '-phi(y): a y + (a + b) ln(1 + x (e^-y - 1)), by whichever of x and rest is the smaller.';

create macro beta_integral(a, b, x, rest) as list_transform([list_reduce([64e0 / (beta_pull(a, b, x, rest)
    + sqrt(beta_pull(a, b, x, rest) * beta_pull(a, b, x, rest) + 64e0 * (a + b) * x * rest)), 1e0, 2e0],
    lambda y_, i_: y_ + (32e0 - beta_fall(a, b, x, rest, y_)) * (x + rest * exp(y_)) / beta_pull(a, b, x, rest * exp(y_)))],
    lambda reach_: reach_ * list_dot_product(integrate_weights(), list_transform(integrate_nodes(),
        lambda u_: exp(-beta_fall(a, b, x, rest, reach_ * u_)))))[1];
comment on macro beta_integral is 'The lower tail of the beta distribution over its front.';

create macro beta_tail(a, b, x, rest) as exp(beta_scale(a, b) + beta_shape(a, b, x, rest)) * beta_integral(a, b, x, rest);
comment on macro beta_tail is 'Share of the beta distribution below x = 1 - rest, exact where that is the smaller side.';

create macro is_beta(a, b) as a between 1 and 9007199254740992e0 and b between 1 and 9007199254740992e0;
comment on macro is_beta is 'Whether a and b are shapes of a beta distribution that is worked out here: both from 1 to 2^53.';

create macro beta_cdf(x, a, b) as list_transform([{'x': x::double, 'a': a::double, 'b': b::double}], lambda args_: case
    when is_beta(args_['a'], args_['b']) and args_['x'] between 0 and 1 then case
        when args_['x'] = 0 then 0e0
        when args_['x'] = 1 then 1e0
        when args_['x'] <= args_['a'] / (args_['a'] + args_['b']) then beta_tail(args_['a'], args_['b'], args_['x'], 1e0 - args_['x'])
        else 1e0 - beta_tail(args_['b'], args_['a'], 1e0 - args_['x'], args_['x']) end end)[1];
comment on macro beta_cdf is 'Regularised incomplete beta I_x(a, b), a and b >= 1.';

create macro beta_step(t, a, b, aim) as list_transform([{'x': logistic(t), 'rest': logistic(-t)}], lambda at_:
    list_transform([beta_integral(a, b, at_['x'], at_['rest'])], lambda area_: t + halley_step(
        (aim - beta_shape(a, b, at_['x'], at_['rest']) - ln(greatest(area_, 1e-300))) * area_,
        beta_pull(a, b, at_['x'], at_['rest']) - 1e0 / area_))[1])[1];
comment on macro beta_step is 'One step towards the logit whose ln(tail) less its scale is aim.';

create macro carter(z, h, l, d) as 2e0 * (z * sqrt(h + l) / h - d * (l + 5e0 / 6 - 2e0 / (3e0 * h)));
comment on macro carter is 'How far below ln(a / b) the logit of the quantile lies, nearly.';

create macro beta_start(a, b, z, aim) as greatest(
    ln(a / b) - carter(z, 2e0 / (1e0 / (2e0 * a - 1) + 1e0 / (2e0 * b - 1)), (z * z - 3e0) / 6e0,
        1e0 / (2e0 * b - 1) - 1e0 / (2e0 * a - 1)),
    list_transform([(aim + ln(a) + a * log_ratio(a, a + b) + b * log_ratio(b, a + b)) / a],
        lambda log_x_: case when log_x_ < 0 then log_x_ - ln(-exp_minus_1(log_x_)) else -700e0 end)[1]);
comment on macro beta_start is 'Where to begin the search for a quantile.';

create macro beta_logit(p, a, b) as list_transform(
    [{'a': a, 'b': b, 'aim': ln(p) - beta_scale(a, b), 'z': -normal_quantile(p)}], lambda of_: list_reduce(
        [beta_start(of_['a'], of_['b'], of_['z'], of_['aim']), 1e0, 2e0], lambda t_, i_: beta_step(t_, of_['a'], of_['b'], of_['aim'])))[1];
comment on macro beta_logit is 'The logit below which a share p <= 1/2 of the beta distribution lies.';

create macro beta_quantile(p, a, b) as list_transform([{'p': p::double, 'a': a::double, 'b': b::double}], lambda args_: case
    when is_beta(args_['a'], args_['b']) and args_['p'] > 0 and args_['p'] < 1 then case
        when args_['p'] <= 0.5e0 then logistic(beta_logit(args_['p'], args_['a'], args_['b']))
        else logistic(-beta_logit(1e0 - args_['p'], args_['b'], args_['a'])) end end)[1];
comment on macro beta_quantile is 'x with I_x(a, b) = p; null unless 0 < p < 1, a >= 1 and b >= 1.';

-- assert: abs(beta_cdf(0.3, 1, 1) - 0.3) < 1e-11 and abs(beta_cdf(0.9, 2, 1) - 0.81) < 1e-11
-- assert: abs(beta_quantile(0.025, 1, 10) - (1 - 0.975 ** 0.1)) < 1e-15
-- assert: abs(beta_quantile(0.975, 2, 1) - sqrt(0.975)) < 1e-14
-- assert: beta_cdf(0, 2, 3) = 0 and beta_cdf(1, 2, 3) = 1 and beta_cdf(0.5, 0, 3) is null and beta_quantile(1, 2, 3) is null
-- assert: beta_cdf('nan'::double, 2, 3) is null and beta_cdf(0.5, 'inf'::double, 3) is null and beta_quantile(0.5, 2, 'nan'::double) is null
