"""How a page is made: blocks, drawings, numbers as texts, templates. Knows nothing of runs."""
