"""What must hold when things go wrong, as countable tests: `make reliability`."""
