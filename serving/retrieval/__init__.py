"""From requests to answers: interests, search, filters, merge."""
