-- What the statistical functions stand on, where SQL has no function of its own.
-- 1. polynomial(coefficients, t): Horner's rule, the highest power first
-- 2. log_1_plus(y) and exp_minus_1(y): ln(1 + y) and e^y - 1 without the loss of digits near 0
-- 3. stirling_error(z): ln gamma(z) less its leading Stirling terms, z >= 1/2; the series from 12 on is exact to 1e-15
-- 4. integrate_nodes() and integrate_weights(): 32 Gauss-Legendre points on [0, 1]
-- Literals end in e0 because SQL reads 0.5 as a decimal and multiplies it as one.
-- Reference: Abramowitz and Stegun 6.1.41, 25.4.30; Loader 2000 (exact binomial terms by way of the Stirling error).
create macro polynomial(coefficients, t) as list_reduce(coefficients, lambda sum_, c_: sum_ * t + c_);
comment on macro polynomial is 'Polynomial in t by Horner, coefficients from the highest power down.';

create macro log_1_plus(y) as 2e0 * atanh(y / (2e0 + y));
comment on macro log_1_plus is 'ln(1 + y), exact near 0.';

create macro exp_minus_1(y) as 2e0 / (1e0 / tanh(y / 2e0) - 1e0);
comment on macro exp_minus_1 is 'e^y - 1, exact near 0, for y below 10 and not 0.';

create macro stirling_error(z) as case
    when z >= 12e0 then (1e0 / 12 - (1e0 / 360 - (1e0 / 1260 - (1e0 / 1680 - (1e0 / 1188 - 691e0 / 360360 / z / z)
        / z / z) / z / z) / z / z) / z / z) / z
    else lgamma(z) - (z - 0.5e0) * ln(z) + z - 0.9189385332046728e0 end;
comment on macro stirling_error is 'ln gamma(z) less (z - 1/2) ln z - z + ln(2 pi) / 2.';

create macro integrate_nodes() as [
    0.001368069075259215e0, 0.007194244227365809e0, 0.017618872206246805e0, 0.03254696203113017e0, 0.051839422116973954e0,
    0.07531619313371501e0, 0.10275810201602881e0, 0.13390894062985514e0, 0.16847786653489238e0, 0.20614212137961885e0,
    0.24655004553388532e0, 0.28932436193468236e0, 0.33406569885893617e0, 0.38035631887393145e0, 0.42776401920860174e0,
    0.4758461671561308e0, 0.5241538328438692e0, 0.5722359807913983e0, 0.6196436811260685e0, 0.6659343011410639e0,
    0.7106756380653176e0, 0.7534499544661146e0, 0.7938578786203812e0, 0.8315221334651076e0, 0.8660910593701449e0,
    0.8972418979839711e0, 0.924683806866285e0, 0.948160577883026e0, 0.9674530379688698e0, 0.9823811277937532e0,
    0.9928057557726342e0, 0.9986319309247408e0
];
comment on macro integrate_nodes is '32 Gauss-Legendre points on [0, 1].';

create macro integrate_weights() as [
    0.003509305004735253e0, 0.008137197365452872e0, 0.012696032654631012e0, 0.017136931456510882e0, 0.021417949011113418e0,
    0.025499029631188046e0, 0.029342046739267783e0, 0.03291111138818084e0, 0.03617289705442417e0, 0.039096947893535114e0,
    0.041655962113473353e0, 0.04382604650220189e0, 0.04558693934788189e0, 0.046922199540402255e0, 0.047819360039637354e0,
    0.04827004425736383e0, 0.04827004425736383e0, 0.047819360039637354e0, 0.046922199540402255e0, 0.04558693934788189e0,
    0.04382604650220189e0, 0.041655962113473353e0, 0.039096947893535114e0, 0.03617289705442417e0, 0.03291111138818084e0,
    0.029342046739267783e0, 0.025499029631188046e0, 0.021417949011113418e0, 0.017136931456510882e0, 0.012696032654631012e0,
    0.008137197365452872e0, 0.003509305004735253e0
];
comment on macro integrate_weights is 'The weights of integrate_nodes().';

-- assert: polynomial([1e0, 2e0, 3e0], 10e0) = 123
-- assert: log_1_plus(1e-20) = 1e-20 and exp_minus_1(1e-20) = 1e-20
-- assert: abs(log_1_plus(1e0) - ln(2)) < 1e-15 and abs(exp_minus_1(1e0) - exp(1) + 1) < 1e-15
-- assert: abs(stirling_error(1e0) - 0.08106146679532726) < 1e-15
-- assert: abs(stirling_error(11.999999999e0) - stirling_error(12e0)) < 1e-11
-- assert: abs(list_sum(integrate_weights()) - 1) < 1e-14
-- assert: abs(list_dot_product(integrate_nodes(), integrate_weights()) - 0.5) < 1e-14
