-- The normal distribution.
-- 1. error_complement(x): erfc(x) for x >= 0 = e^(-x^2) R(t) / (1 + 2x) with t = (x - 3) / (x + 3); R was fitted here with 60 digits
-- 2. normal_cdf(z) = erfc(-z / sqrt 2) / 2, exact in both tails (relative 1e-13 down to 1e-300); beyond |z| = 1000 it is 0 or 1
-- 3. normal_quantile(p): the rational functions of AS 241, exact to 1e-15; null unless 0 < p < 1
-- 4. two_sided_p(z) = 2 (1 - normal_cdf(|z|)); two_sided_z(level) is the z of a two-sided interval, null unless 0 < level < 1
-- Reference: Schonfelder 1978 (form of the fit); Wichura 1988, Applied Statistics 37:477 (AS 241).
create macro error_complement(x) as exp(-x * x) / (1e0 + 2e0 * x) * polynomial([
    9.862533510345587e-10, -3.1813541434969274e-09, -1.3312919661038687e-08, 2.7843881265502222e-08, 1.0183620603842736e-07,
    -1.205414228648938e-07, -6.166011460398726e-07, 3.3669790806407595e-07, 3.472370944977168e-06, -7.187883834404266e-07,
    -2.0100542268525612e-05, 4.94412434222366e-06, 0.0001250993424583729e0, -0.00010515831297813128e0, -0.0007798322696543306e0,
    0.0018886900977441495e0, 0.0025293918156939696e0, -0.023770514891530075e0, 0.0683080273440099e0, -0.11927366341676002e0,
    0.1296451587027594e0, -0.04756229435342038e0, -0.13562110612458117e0, 1.2530080582697296e0
], (x - 3e0) / (x + 3e0));
comment on macro error_complement is 'erfc(x) for x >= 0.';

create macro normal_cdf(z) as list_transform([z::double], lambda z_: case
    when z_ <= 0 then error_complement(least(-z_, 1e3) * 0.7071067811865476e0) / 2
    when z_ <= 'infinity'::double then 1e0 - error_complement(least(z_, 1e3) * 0.7071067811865476e0) / 2 end)[1];
comment on macro normal_cdf is 'Share of the normal distribution below z.';

create macro two_sided_p(z) as list_transform([abs(z::double)], lambda z_:
    case when z_ <= 'infinity'::double then error_complement(least(z_, 1e3) * 0.7071067811865476e0) end)[1];
comment on macro two_sided_p is 'Two-sided p-value of a normal z.';

create macro quantile_middle(q) as q * polynomial([2509.0809287301226727e0, 33430.575583588128105e0, 67265.770927008700853e0,
    45921.953931549871457e0, 13731.693765509461125e0, 1971.5909503065514427e0, 133.14166789178437745e0, 3.3871328727963666080e0],
    0.180625e0 - q * q) / polynomial([5226.4952788528545610e0, 28729.085735721942674e0, 39307.895800092710610e0,
    21213.794301586595867e0, 5394.1960214247511077e0, 687.18700749205790830e0, 42.313330701600911252e0, 1e0], 0.180625e0 - q * q);
comment on macro quantile_middle is 'AS 241 for p between 0.075 and 0.925, q = p - 1/2.';

create macro quantile_tail(r) as case
    when r <= 5 then polynomial([7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
        1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0,
        1.42343711074968357734e0], r - 1.6e0) / polynomial([1.05075007164441684324e-9, 5.47593808499534494600e-4,
        1.51986665636164571966e-2, 1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
        2.05319162663775882187e0, 1e0], r - 1.6e0)
    else polynomial([2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
        2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0,
        6.65790464350110377720e0], r - 5e0) / polynomial([2.04426310338993978564e-15, 1.42151175831644588870e-7,
        1.84631831751005468180e-5, 7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
        5.99832206555887937690e-1, 1e0], r - 5e0) end;
comment on macro quantile_tail is 'AS 241 beyond: |z| from r = sqrt(-ln p).';

create macro normal_quantile(p) as list_transform([p::double], lambda p_: case
    when p_ > 0 and p_ < 1 then case
        when abs(p_ - 0.5e0) <= 0.425e0 then quantile_middle(p_ - 0.5e0)
        else sign(p_ - 0.5e0) * quantile_tail(sqrt(-ln(least(p_, 1e0 - p_)))) end end)[1];
comment on macro normal_quantile is 'z with this share of the normal distribution below it; null unless 0 < p < 1.';

create macro two_sided_z(level) as -normal_quantile((1e0 - level::double) / 2e0 + case when level > 0 and level < 1 then 0e0 end);
comment on macro two_sided_z is 'z of a two-sided interval of this level, 1.96 for 0.95; null unless 0 < level < 1.';

-- assert: abs(two_sided_z(0.95) - 1.959963984540054) < 1e-14
-- assert: abs(normal_cdf(1.959963984540054) - 0.975) < 1e-15
-- assert: abs(normal_cdf(-10) / 7.61985302416047e-24 - 1) < 1e-13
-- assert: abs(normal_quantile(1e-20) + 9.262340089798408) < 1e-13
-- assert: abs(two_sided_p(1.0) - 0.31731050786291415) < 1e-15
-- assert: normal_quantile(0) is null and normal_quantile(1) is null and two_sided_z(1) is null and two_sided_z(0) is null and normal_cdf(null) is null
-- assert: normal_cdf('inf'::double) = 1 and normal_cdf('-inf'::double) = 0 and two_sided_p('-inf'::double) = 0 and two_sided_p('nan'::double) is null
