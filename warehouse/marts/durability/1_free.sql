-- What only responders needed is given back before the marts that follow; its views are of no further use either.
drop table scored;
drop table seen;
drop table compared;
drop table points;
drop table spells;
