"""How a share of unknown values is told to people: alike by ingest, batches and servers.

Imports no TensorFlow.
"""


def describe_share(
    share: float, owner: str, feature: str, limit: float, *, values: str = "values", of: str = ""
) -> str:
    """The beginning of a line, which says what that means and what to do.

    Args:
        share: Of the values of a feature that no vocabulary has.
        owner: Of the feature.
        feature: Its name.
        limit: `features.max_unknown_share`.
        values: Which values were looked at.
        of: Counts, to stand behind the name of the feature.

    >>> describe_share(0.25, "user", "country", 0.05)
    "25.0% of the values of the user feature 'country' are outside of the vocabulary (limit \
features.max_unknown_share = 0.05)"
    """
    counts = f" ({of})" if of else ""
    return (
        f"{share:.1%} of the {values} of the {owner} feature {feature!r}{counts} are outside of "
        f"the vocabulary (limit features.max_unknown_share = {limit:g})"
    )


SEND_OTHERS = (
    "they say nothing. Send values as in the file that the model was trained with, or train with "
    "a newer one."
)
"""What to do about those that a model is asked with."""
