"""The report of a run and the card of a model: what the jobs left, as pages for people."""
