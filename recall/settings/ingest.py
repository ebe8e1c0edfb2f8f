"""Settings of the ingest job. Imports no TensorFlow."""

import dataclasses
import typing

from recall.plain_values import require_choice, require_setting, require_time

IMPRESSION = "impression"
"""The kind of an event in which an item was shown: a click of its own says that it was used."""

_MOST_SHARDS = 10_000
"""Numbers that the names of kept files leave to a shard; each is some dozen files, and costs a
hundredth of a second even when it is empty."""


@dataclasses.dataclass(frozen=True)
class IngestConfig:
    """How a log becomes training sequences and held-out targets."""

    protocol: str = "leave_one_out"
    """`leave_one_out`, `next_n`, `temporal` (one clock for all users) or `provided` (a `split`
    column in the log)."""
    num_targets: int | None = 5
    """Held-out events per user and split under `next_n` (the DSSRec paper: 5), and under
    `temporal`, where they are the first after the clock; there null takes all."""
    valid_from: str | None = None
    """When the clicks for validation begin under `temporal`: a date or time, UTC, given
    together with `test_from`. null: by `valid_share`."""
    test_from: str | None = None
    """When the clicks for the test begin under `temporal`; null: by `test_share`."""
    valid_share: float = 0.1
    """Share of the events between both times, which stand at full hours; what a tenth holds
    is usually enough for a standard error of a few per cent."""
    test_share: float = 0.1
    """Share of the events after the later time."""
    embargo_days: float = 0.0
    """Events so long before either time are history only under `temporal`: what is logged
    late, or belongs to a session that goes on, then tells nothing of the targets."""
    session_gap_minutes: float | None = None
    """Sequences are sessions: a longer gap between two events of a user begins another. Usual
    on the web are 30. null: all events of a user are one sequence."""
    min_user_events: int = 2
    """Users with fewer events are dropped: one event has nothing to predict."""
    min_item_events: int = 1
    """Items with fewer events are dropped; 1 keeps the catalogue of the log."""
    max_user_events: int | None = 5000
    """Training learns from the latest n events of a user; earlier ones are history only. The
    longest user of MovieLens 1M, Beauty, Sports and Diginetica has 2,277; a robot with
    100,000 would be most of what is learnt. null: no limit."""
    window_stride: int | None = None
    """Training windows of a user begin so many events apart; below
    `model.max_history_length` they overlap, and an event is learnt with more of its past.
    null: they lie side by side, and every event is learnt once."""
    max_impressions: int = 20
    """Items that were shown before a click and become its negatives, at most, the latest
    ones: a page or two."""
    max_age_days: float | None = None
    """Events that are older than this, counted from the latest of the log, are dropped. null:
    all are kept."""
    keep_sequences: bool = False
    """Keeps the events of every user beside the examples, about 10 bytes each (14 where times
    have fractions of seconds), which `recall ingest --append` and `recall forget` need."""
    cold_item_share: float = 0.0
    """Share of the items that are held out from training whole, chosen by their ids: how well
    items are found that nobody clicked shows in `cold_items` of the report. 0 but for
    experiments, as a model to be served should learn from all."""
    cold_items: tuple[str, ...] = ()
    """Ids of such items, in the place of or beside a share."""
    new_user_share: float = 0.0
    """Share of the users whose clicks training does not learn from, chosen by their ids: how
    well features alone answer them shows in `new_users` of the report. 0 but for experiments."""
    num_shards: int = 8
    """Files per split and length, at most 10,000; also the parallelism of the shuffle by user.
    What is in memory at a time is one of them: 64 for a log of 10^9 events."""

    PROTOCOLS: typing.ClassVar = ("leave_one_out", "next_n", "temporal", "provided")

    def __post_init__(self):
        require_choice("ingest.protocol", self.protocol, self.PROTOCOLS)
        for name in ("min_user_events", "min_item_events", "max_impressions", "num_shards"):
            require_setting(getattr(self, name) >= 1, f"ingest.{name}", getattr(self, name), ">= 1")
        require_setting(
            self.num_shards <= _MOST_SHARDS,
            "ingest.num_shards",
            self.num_shards,
            f"at most {_MOST_SHARDS:,}; 64 are enough for 10^9 events",
        )
        require_setting(
            self.protocol == "temporal" if self.num_targets is None else self.num_targets >= 1,
            "ingest.num_targets",
            self.num_targets,
            ">= 1, or null under protocol temporal",
        )
        require_setting(
            self.session_gap_minutes is None or self.session_gap_minutes > 0,
            "ingest.session_gap_minutes",
            self.session_gap_minutes,
            "> 0, or null",
        )
        self._check_clock()
        require_setting(
            self.max_user_events is None or self.max_user_events >= 2,
            "ingest.max_user_events",
            self.max_user_events,
            ">= 2, or null",
        )
        for name in ("window_stride", "max_age_days"):
            value = getattr(self, name)
            require_setting(value is None or value > 0, f"ingest.{name}", value, "> 0, or null")
        self._check_kept_out()
        require_setting(
            not self.keep_sequences
            or (self.protocol != "temporal" and self.session_gap_minutes is None),
            "ingest.keep_sequences",
            self.keep_sequences,
            "false under protocol temporal and with sessions: there a new day changes all users",
        )

    def _check_kept_out(self) -> None:
        """Users and items that training is not to see."""
        new = self.new_user_share
        require_setting(0 <= new < 1, "ingest.new_user_share", new, "in [0, 1)")
        require_setting(
            not (new and self.keep_sequences),
            "ingest.keep_sequences",
            self.keep_sequences,
            "false with ingest.new_user_share",
        )
        share = self.cold_item_share
        require_setting(0 <= share < 1, "ingest.cold_item_share", share, "in [0, 1)")
        require_setting(
            not self.keep_sequences or not (share or self.cold_items),
            "ingest.keep_sequences",
            self.keep_sequences,
            "false with ingest.cold_item_share and ingest.cold_items",
        )

    def _check_clock(self) -> None:
        """The settings of protocol `temporal`."""
        valid_from = require_time("ingest.valid_from", self.valid_from)
        test_from = require_time("ingest.test_from", self.test_from)
        require_setting(
            (valid_from is None) == (test_from is None),
            "ingest.valid_from",
            self.valid_from,
            f"given together with ingest.test_from, which is {self.test_from!r}",
        )
        if valid_from is not None and test_from is not None:
            wanted = f"before ingest.test_from = {self.test_from}"
            require_setting(valid_from < test_from, "ingest.valid_from", self.valid_from, wanted)
        for name in ("valid_share", "test_share"):
            value = getattr(self, name)
            require_setting(0 < value < 1, f"ingest.{name}", value, "in (0, 1)")
        require_setting(
            self.valid_share + self.test_share < 1,
            "ingest.valid_share",
            self.valid_share,
            f"less than 1 together with ingest.test_share = {self.test_share}",
        )
        require_setting(
            self.embargo_days >= 0, "ingest.embargo_days", self.embargo_days, "0 or more"
        )
