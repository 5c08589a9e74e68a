-- The beta distribution with a, b >= 1: what exact binomial limits rest on.
-- 1. In the logit t = ln(x / (1 - x)) the lower tail is front(a, b, t) * integral of e^phi(y) from 0, with
--    phi = -a y - (a + b) ln(1 + x (e^-y - 1)) concave, phi(0) = 0, and front = x^a (1 - x)^b / B(a, b)
-- 2. The integral is summed as in gamma.sql; the upper tail is the lower one with a and b exchanged and t negated
-- 3. Quantiles solve ln(tail) = ln(p) in t by Halley's rule; two steps from Carter's approximation
--    or from (p a B(a, b))^(1 / a), whichever is further up
-- Relative error below 1e-9 for a + b up to 1e6. Null when a or b is below 1, or unless 0 <= x <= 1, 0 < p < 1.
-- Reference: Abramowitz and Stegun 26.5.22 (Carter 1947); the rest follows from the definition.
create macro logistic(t) as 1e0 / (1e0 + exp(-t));
comment on macro logistic is '1 / (1 + e^-t).';

create macro beta_scale(a, b) as ln(a / (a + b) * b * 0.15915494309189535e0) / 2e0
    + stirling_error(a + b) - stirling_error(a) - stirling_error(b);
comment on macro beta_scale is 'The part of ln(front) that does not depend on x.';

create macro beta_shape(a, b, x, rest) as a * log_ratio(x, a / (a + b)) + b * log_ratio(rest, b / (a + b));
comment on macro beta_shape is 'The part of ln(front) that does, with rest = 1 - x.';

create macro beta_fall(a, b, x, y) as a * y - 2e0 * (a + b) * atanh(x / (1e0 - x + 1e0 / tanh(y / 2e0)));
comment on macro beta_fall is '-phi(y): a y + (a + b) ln(1 + x (e^-y - 1)).';

create macro beta_integral(a, b, x) as list_transform([list_reduce([
    64e0 / (a - (a + b) * x + sqrt((a - (a + b) * x) * (a - (a + b) * x) + 64e0 * (a + b) * x * (1e0 - x))), 1e0, 2e0],
    lambda y_, i_: y_ + (32e0 - beta_fall(a, b, x, y_)) / (a - (a + b) * x / (x + (1e0 - x) * exp(y_))))],
    lambda reach_: reach_ * list_dot_product(integrate_weights(), list_transform(integrate_nodes(),
        lambda u_: exp(-beta_fall(a, b, x, reach_ * u_)))))[1];
comment on macro beta_integral is 'The lower tail of the beta distribution over its front.';

create macro beta_tail(a, b, x, rest) as exp(beta_scale(a, b) + beta_shape(a, b, x, rest)) * beta_integral(a, b, x);
comment on macro beta_tail is 'Share of the beta distribution below x = 1 - rest, exact where that is the smaller side.';

create macro beta_cdf(x, a, b) as list_transform([{'x': x::double, 'a': a::double, 'b': b::double}], lambda args_: case
    when args_.a < 1 or args_.b < 1 or args_.x < 0 or args_.x > 1 or args_.a is null or args_.b is null then null
    when args_.x = 0 then 0e0
    when args_.x = 1 then 1e0
    when args_.x <= args_.a / (args_.a + args_.b) then beta_tail(args_.a, args_.b, args_.x, 1e0 - args_.x)
    when args_.x > args_.a / (args_.a + args_.b) then 1e0 - beta_tail(args_.b, args_.a, 1e0 - args_.x, args_.x) end)[1];
comment on macro beta_cdf is 'Regularised incomplete beta I_x(a, b), a and b >= 1.';

create macro beta_step(t, a, b, aim) as list_transform([logistic(t)], lambda x_: list_transform([logistic(-t)], lambda rest_:
    list_transform([beta_integral(a, b, x_)], lambda area_: t + halley_step(
        (aim - beta_shape(a, b, x_, rest_) - ln(greatest(area_, 1e-300))) * area_, a - (a + b) * x_ - 1e0 / area_))[1])[1])[1];
comment on macro beta_step is 'One step towards the logit whose ln(tail) less its scale is aim.';

create macro carter(z, h, l, d) as 2e0 * (z * sqrt(h + l) / h - d * (l + 5e0 / 6 - 2e0 / (3e0 * h)));
comment on macro carter is 'How far below ln(a / b) the logit of the quantile lies, nearly.';

create macro beta_start(a, b, z, log_p) as greatest(
    ln(a / b) - carter(z, 2e0 / (1e0 / (2e0 * a - 1) + 1e0 / (2e0 * b - 1)), (z * z - 3e0) / 6e0,
        1e0 / (2e0 * b - 1) - 1e0 / (2e0 * a - 1)),
    list_transform([(log_p + lgamma(a + 1e0) + lgamma(b) - lgamma(a + b)) / a],
        lambda log_x_: case when log_x_ < 0 then log_x_ - ln(-exp_minus_1(log_x_)) else -700e0 end)[1]);
comment on macro beta_start is 'Where to begin the search for a quantile.';

create macro beta_logit(p, a, b) as list_transform([a], lambda a_: list_transform([b], lambda b_: list_transform(
    [ln(p) - beta_scale(a_, b_)], lambda aim_: list_reduce(
        [beta_start(a_, b_, -normal_quantile(p), ln(p)), 1e0, 2e0], lambda t_, i_: beta_step(t_, a_, b_, aim_)))[1])[1])[1];
comment on macro beta_logit is 'The logit below which a share p <= 1/2 of the beta distribution lies.';

create macro beta_quantile(p, a, b) as list_transform([{'p': p::double, 'a': a::double, 'b': b::double}], lambda args_: case
    when args_.a >= 1 and args_.b >= 1 and args_.p > 0 and args_.p <= 0.5e0 then logistic(beta_logit(args_.p, args_.a, args_.b))
    when args_.a >= 1 and args_.b >= 1 and args_.p > 0.5e0 and args_.p < 1 then logistic(-beta_logit(1e0 - args_.p, args_.b, args_.a)) end)[1];
comment on macro beta_quantile is 'x with I_x(a, b) = p; null unless 0 < p < 1, a >= 1 and b >= 1.';

-- assert: abs(beta_cdf(0.3, 1, 1) - 0.3) < 1e-11 and abs(beta_cdf(0.9, 2, 1) - 0.81) < 1e-11
-- assert: abs(beta_quantile(0.025, 1, 10) - (1 - 0.975 ** 0.1)) < 1e-15
-- assert: abs(beta_quantile(0.975, 2, 1) - sqrt(0.975)) < 1e-14
-- assert: beta_cdf(0, 2, 3) = 0 and beta_cdf(1, 2, 3) = 1 and beta_cdf(0.5, 0, 3) is null and beta_quantile(1, 2, 3) is null
