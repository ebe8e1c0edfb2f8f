"""How the lists of a user's interests become one, by name.

Imports neither TensorFlow nor NumPy. `RecallRequest.merge` says what each does.
"""

MERGE_MAX_SCORE, MERGE_QUOTA, MERGE_DIVERSITY = "max_score", "quota", "diversity"
MERGE_NEW_CATEGORIES = "new_categories"
MERGE_MODES = (MERGE_MAX_SCORE, MERGE_QUOTA, MERGE_DIVERSITY, MERGE_NEW_CATEGORIES)
"""How the lists of a user's interests become one; see `RecallRequest.merge`."""

POOLED_MERGES = (MERGE_DIVERSITY, MERGE_NEW_CATEGORIES)
"""Those that choose from a pool of more items than are wanted."""
