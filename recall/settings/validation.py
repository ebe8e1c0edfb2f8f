"""The section `validation` of the settings: what a log may be like before anything is trained.

Imports no TensorFlow.
"""

import dataclasses

from recall.plain_values import require_setting


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """Limits of a log, most of them of what changed since an earlier run (`--previous`).

    null, the default of all, measures and shows without a limit: what a usual night is like
    shows in the report of some nights.
    """

    max_bad_rows: float | None = None
    """Share of the rows read that could not be used."""
    max_duplicates: float | None = None
    """Share of the events read that repeat another one: user, item and time."""
    max_missing_days: int | None = None
    """Days without an event between the first and the last one."""
    max_cold_targets: float | None = None
    """Share of the test's clicks on items that training never saw."""
    max_new_items: float | None = None
    """Share of the items that the earlier run did not have."""
    max_gone_items: float | None = None
    """Share of the earlier run's items that are not in the log any more."""
    max_unknown_clicks: float | None = None
    """Share of the clicks that are on new items."""
    max_popularity_jensen_shannon: float | None = None
    """Jensen-Shannon divergence (base 2, 0 to 1) of the clicks by item, as in TFDV."""
    max_popularity_l_infinity: float | None = None
    """Largest change of an item's share of the clicks, as in TFDV."""
    max_length_jensen_shannon: float | None = None
    """Jensen-Shannon divergence (base 2) of the users by the number of their clicks, in
    classes that double."""
    max_event_loss: float | None = None
    """Share of the earlier run's events that the log has less; 0 where it has more."""
    min_new_days: int | None = None
    """Days with events after the last day of the earlier run: 1 stops a night without news."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, key = getattr(self, field.name), f"validation.{field.name}"
            if value is None:
                continue
            if isinstance(value, int):
                require_setting(value >= 0, key, value, "0 or more, or null")
            else:
                require_setting(0 <= value <= 1, key, value, "in [0, 1], or null")
