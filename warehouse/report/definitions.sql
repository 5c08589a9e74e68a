-- Outcome definitions: what each of them counts as a response, and on whose word.
select definition, label, rule, source, confidence
from outcome_definitions
