"""`edit`: pictures in, other pictures out, by a model that has learnt what pictures look like."""
