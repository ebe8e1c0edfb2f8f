"""Which runs an experiment has: logs, recipes, seeds, and what is shown of them."""
