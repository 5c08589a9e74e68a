-- benjamini_hochberg(ps): p-values adjusted for the false discovery rate, in the order of the list.
-- 1. m = p-values of the list that are not null; j = place of a value among them, from the smallest
-- 2. adjusted = the least of m p / j over it and all larger ones, at most 1
-- A null stays null and is not counted: a test that could not be made is none. Tests of one family belong into one list.
-- Null as a whole when one of them is no probability (NaN, below 0, above 1): without it the others would come out too small.
-- Meant for families up to some 10,000: the time grows with the square of their number.
-- Reference: Benjamini and Hochberg 1995, J R Stat Soc B 57:289 (step-up adjusted values as in Wright 1992).
create macro benjamini_hochberg(ps) as list_transform(list_filter(
    [list_sort(list_transform(list_filter(ps, lambda p_: p_ is not null), lambda p_: p_::double))],
    lambda sorted_: len(sorted_) = 0 or (sorted_[1] >= 0 and sorted_[-1] <= 1)), lambda sorted_:
    list_transform([list_reverse(list_transform(sorted_, lambda p_, j_: p_ * len(sorted_) / j_))], lambda stepped_:
        list_transform(ps, lambda p_: case when p_ is not null then least(1e0, list_min(
            stepped_[: len(sorted_) + 1 - list_position(sorted_, p_::double)])) end))[1])[1];
comment on macro benjamini_hochberg is 'p-values of one family, adjusted for the false discovery rate; nulls stay and are not counted.';

-- given: create table bh as select benjamini_hochberg([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]) as q
-- assert: (select abs(q[1] - 0.0015) < 1e-12 and abs(q[2] - 0.0030) < 1e-12 and abs(q[3] - 0.0095) < 1e-12 from bh)
-- assert: (select abs(q[4] - 0.035625) < 1e-12 and abs(q[5] - 0.0603) < 1e-12 and abs(q[6] - q[7]) < 1e-12 and abs(q[7] - 0.0638571) < 5e-8 from bh)
-- assert: (select abs(q[8] - 0.0645) < 1e-12 and abs(q[9] - 0.0765) < 1e-12 and abs(q[10] - 0.4860) < 1e-12 and q[15] = 1 from bh)
-- assert: (select len(list_filter(q, lambda x: x <= 0.05)) = 4 from bh)
-- assert: benjamini_hochberg([0.04, null, 0.01]) = [0.04, null, 0.02] and len(benjamini_hochberg([])) = 0 and benjamini_hochberg(null) is null
-- assert: benjamini_hochberg([0.1, 1.1]) is null and benjamini_hochberg([0.1, 'nan'::double]) is null and benjamini_hochberg([null]::double[]) = [null]
