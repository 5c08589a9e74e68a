-- reliable_change(pre, post, sd, reliability): change in units of its standard error of measurement; a number, negative for a fall.
-- 1. index = (post - pre) / (sd * sqrt(2 (1 - reliability))), with the standard deviation before treatment (or a norm: say whose)
-- Null unless sd > 0 and 0 <= reliability < 1, and when a score, the sd or the cut-off is not finite.
--
-- reliable_change_class(pre, post, sd, reliability, cutoff, direction, level := 0.95): one of five words.
-- 1. direction is 'higher_is_worse' (PHQ-9) or 'higher_is_better'; worse and better follow it; anything else gives null
-- 2. The change is reliable when |index| > z (1.96 for 95 %); functional means strictly on the better side of the cut-off
--    and clinical strictly on the worse side: a score on the cut-off is neither
-- 3. recovered    = reliably better, clinical before, functional after
-- 4. improved     = reliably better otherwise
-- 5. harmed       = reliably worse, functional before, clinical after
-- 6. deteriorated = reliably worse otherwise
-- 7. unchanged    = the rest
-- Null when the index is, or a score or the cut-off is missing.
-- Reference: Jacobson and Truax 1991, J Consult Clin Psychol 59:12.
create macro reliable_change(pre, post, sd, reliability) as case when sd > 0 and reliability >= 0 and reliability < 1
    and isfinite(sd::double) and isfinite(pre::double) and isfinite(post::double)
    then (post::double - pre::double) / (sd::double * sqrt(2e0 * (1e0 - reliability::double))) end;
comment on macro reliable_change is 'Jacobson-Truax reliable change index; null unless sd > 0 and 0 <= reliability < 1.';

create macro change_class(index, before, after, z) as case
    when index is null or z is null or isfinite(before + after) is distinct from true then null
    when index > z and before < 0 and after > 0 then 'recovered'
    when index > z then 'improved'
    when index < -z and before > 0 and after < 0 then 'harmed'
    when index < -z then 'deteriorated'
    else 'unchanged' end;
comment on macro change_class is 'The class of a change, where up is better and scores are distances from the cut-off.';

create macro better_sign(direction) as case direction when 'higher_is_better' then 1e0 when 'higher_is_worse' then -1e0 end;
comment on macro better_sign is '1 when higher scores are better, -1 when worse, null for any other word.';

create macro reliable_change_class(pre, post, sd, reliability, cutoff, direction, level := 0.95) as change_class(
    better_sign(direction) * reliable_change(pre, post, sd, reliability), better_sign(direction) * (pre::double - cutoff::double),
    better_sign(direction) * (post::double - cutoff::double), two_sided_z(level));
comment on macro reliable_change_class is 'recovered, improved, unchanged, deteriorated or harmed (Jacobson-Truax); null when an input is missing.';

-- assert: abs(reliable_change(20, 20 - 6.763, 6.1, 0.84) + 1.96) < 1e-4
-- assert: reliable_change(20, 10, 0, 0.84) is null and reliable_change(20, 10, 6.1, 1) is null
-- assert: reliable_change_class(20, 5, 6.1, 0.84, 8.102, 'higher_is_worse') = 'recovered'
-- assert: reliable_change_class(20, 10, 6.1, 0.84, 8.102, 'higher_is_worse') = 'improved'
-- assert: reliable_change_class(20, 14, 6.1, 0.84, 8.102, 'higher_is_worse') = 'unchanged'
-- assert: reliable_change_class(12, 20, 6.1, 0.84, 8.102, 'higher_is_worse') = 'deteriorated'
-- assert: reliable_change_class(5, 20, 6.1, 0.84, 8.102, 'higher_is_worse') = 'harmed'
-- assert: reliable_change_class(5, 20, 6.1, 0.84, 8.102, 'higher_is_better') = 'recovered'
-- assert: reliable_change_class(5, 20, 6.1, 0.84, 8.102, 'up') is null
-- assert: reliable_change_class(null, 20, 6.1, 0.84, 8.102, 'higher_is_worse') is null
-- assert: reliable_change('nan'::double, 20, 6.1, 0.84) is null and reliable_change(5, 20, 'inf'::double, 0.84) is null
-- assert: reliable_change_class(5, 20, 6.1, 0.84, 'nan'::double, 'higher_is_worse') is null and reliable_change_class(5, 20, 6.1, 0.84, 8.1, null) is null
