"""The split of the sequences of some users: who is dropped, what each event is used for.

Pure functions over numpy and Arrow; knows neither Beam nor TensorFlow and touches no
files.
"""

import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion import sequences, splits
from pipelines.ingestion.events.user_rows import owners_of
from pipelines.ingestion.sequences import PART_LABELS, Part, Sequences
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

_SHOWN_ROWS = 3
"""Rows shown per shard and reason in the report of what was dropped."""


class Splitter:
    """Splits sequences by the settings of ingest."""

    def __init__(
        self,
        config: IngestConfig,
        clock: splits.Clock | None,
        frequent: np.ndarray,
        item_ids: pa.StringArray,
        cold: np.ndarray | None = None,
    ):
        """Prepares the work.

        Args:
            config: The settings.
            clock: Of protocol `temporal`, None under another one.
            frequent: `[num_items]` bool, the items that are kept.
            item_ids: `[num_items]` their ids.
            cold: `[num_items]` bool, the items that training is not to see; None: no item.
        """
        self._config, self._clock = config, clock
        self._cold = cold if cold is not None and cold.any() else None
        self._frequent, self._item_ids = frequent, item_ids

    def split(self, log: Sequences) -> tuple[Sequences, dict[str, Any]]:
        """The events that are kept, with their parts, and facts for the report."""
        log, facts = self._cut_sessions(log), {}
        if self._config.min_item_events > 1:
            kept = self._frequent[log.items]
            facts["rare_items"] = dropped(log, ~kept, self._item_ids)
            log = log.filter(kept)
        kept = sequences.long_enough(log.offsets, self._config.min_user_events)
        short_users = int((np.diff(log.offsets) < self._config.min_user_events).sum())
        facts["short_users"] = {"users": short_users, **dropped(log, ~kept, self._item_ids)}
        log = log.filter(kept)
        log = log._replace(parts=self._parts(log))
        if self._config.new_user_share:
            is_new = np.repeat(choose_new_users(self._config, log.user_ids), np.diff(log.offsets))
            log.parts[is_new & (log.parts == Part.TRAIN)] = Part.CONTEXT
        facts["cold_items"] = {"events": 0, "first": []}
        if self._cold is not None:
            is_target = (log.parts == Part.VALID) | (log.parts == Part.TEST)
            hidden = self._cold[log.items] & ~is_target
            facts["cold_items"] = dropped(log, hidden, self._item_ids)
            log = log.filter(~hidden)
        facts |= self._cap(log)
        facts["days"] = sequences.count_days(log.timestamps)
        facts |= splits.describe(log.timestamps, log.offsets, log.parts) | self._find_leak(log)
        return log, facts

    def _cut_sessions(self, log: Sequences) -> Sequences:
        """Sessions in the place of users, where the settings ask for it."""
        minutes = self._config.session_gap_minutes
        if minutes is None:
            return log
        cut = splits.cut_sessions(log.timestamps, log.offsets, 60 * minutes)
        names = splits.name_sessions(log.user_ids, log.offsets, cut)
        return log._replace(user_ids=names, offsets=cut)

    def _find_leak(self, log: Sequences) -> dict[str, Any]:
        """The first event that the clock forbids where it stands."""
        if self._clock is None:
            return {}
        at = splits.find_leak(log.timestamps, log.parts, self._clock)
        return {} if at is None else {"leak": _show(log, np.array([at]), self._item_ids)}

    def _cap(self, log: Sequences) -> dict[str, Any]:
        """Takes early events of users with very many out of training, in `log.parts`.

        Returns:
            Facts: who was capped, and whose events make the most training targets.
        """
        offsets, parts = log.offsets, log.parts
        if len(offsets) == 1:
            return {}
        learnt, limit = (
            np.diff(sequences.training_offsets(offsets, parts)),
            self._config.max_user_events,
        )
        per_user = np.maximum(learnt - (learnt.max() if limit is None else limit), 0)
        owners = np.flatnonzero(per_user)
        if len(owners):
            parts[sequences.mark_beyond_latest(offsets, parts, limit)] = Part.CONTEXT
        targets = np.maximum(learnt - per_user - 1, 0)
        shown = owners[np.argsort(-per_user[owners], kind="stable")][:_SHOWN_ROWS].tolist()
        lengths, most = np.diff(offsets), int(np.argmax(targets))
        return {
            "capped_users": {
                "users": len(owners),
                "events": int(per_user.sum()),
                "first": [
                    {
                        "user_id": log.user_ids[user].as_py(),
                        "events": int(lengths[user]),
                        "history_only": int(per_user[user]),
                    }
                    for user in shown
                ],
            },
            "largest_user": {
                "user_id": log.user_ids[most].as_py(),
                "targets": int(targets[most]),
            },
        }

    def _parts(self, log: Sequences) -> np.ndarray:
        """`[num_events]` int8 of `Part` by the protocol."""
        if self._config.protocol == "provided":
            return log.parts.copy()
        if self._clock is not None:
            num_targets = self._config.num_targets
            return splits.hold_out_after(log.timestamps, log.offsets, self._clock, num_targets)
        one = self._config.protocol == "leave_one_out"
        return sequences.hold_out_last(log.offsets, 1 if one else self._config.num_targets)


def choose_cold_items(
    config: IngestConfig, item_ids: pa.StringArray, is_in_log: np.ndarray
) -> np.ndarray:
    """The items that are held out from training: a named list, and a share by a hash of ids.

    The same ids are chosen whatever else is in the log.

    Args:
        config: The settings.
        item_ids: `[num_items]` ids.
        is_in_log: `[num_items]` bool, items with events.

    Returns:
        `[num_items]` bool.

    Raises:
        InputError: A named item is not in the log.
    """
    named = pa.array(config.cold_items, pa.string())
    missing = pc.is_in(named, value_set=item_ids.filter(pa.array(is_in_log)))
    if not pc.all(missing, min_count=0).as_py():
        name = named.filter(pc.invert(missing))[0].as_py()
        raise InputError(
            f"ingest.cold_items names {name!r}, which is no item of the log. Correct the id."
        )
    cold = pc.is_in(item_ids, value_set=named).to_numpy(zero_copy_only=False)
    if config.cold_item_share:
        hashes = (zlib.crc32(item_id.encode()) for item_id in item_ids.to_pylist())
        cold = cold | (np.fromiter(hashes, np.int64) < config.cold_item_share * 2**32)
    return cold & is_in_log


def choose_new_users(config: IngestConfig, user_ids: pa.StringArray) -> np.ndarray:
    """`[num_users]` bool, the users that training is not to see: a share by a hash of ids.

    All sessions of a user are chosen, or none.
    """
    owners = user_ids if config.session_gap_minutes is None else owners_of(user_ids)
    hashes = (zlib.crc32(b"user " + user_id.encode()) for user_id in owners.to_pylist())
    return np.fromiter(hashes, np.int64, len(user_ids)) < config.new_user_share * 2**32


def dropped(log: Sequences, mask: np.ndarray, item_ids: pa.StringArray) -> dict[str, Any]:
    """How many events a mask drops, and the first few of them."""
    events = np.flatnonzero(mask)
    return {"events": len(events), "first": _show(log, events[:_SHOWN_ROWS], item_ids)}


def find_conflicts(log: Sequences, item_ids: pa.StringArray) -> dict[str, Any]:
    """As `splits.find_conflicts`, of events whose parts are those of a split column."""
    labels = pa.array(PART_LABELS).take(pa.array(log.parts))
    columns = {"user_id": log.owners, "item_id": log.items, "timestamp": log.timestamps}
    found = splits.find_conflicts(pa.table({**columns, "split": labels}))
    for row in found["first"]:
        row["user_id"] = log.user_ids[row["user_id"]].as_py()
        row["item_id"] = item_ids[row["item_id"]].as_py()
    return found


def _show(log: Sequences, events: np.ndarray, item_ids: pa.StringArray) -> list[dict[str, Any]]:
    """Some events as plain values."""
    users = np.searchsorted(log.offsets, events, side="right") - 1
    return [
        {
            "user_id": log.user_ids[user].as_py(),
            "item_id": item_ids[int(log.items[event])].as_py(),
            "timestamp": float(log.timestamps[event]),
            "row": None if log.rows is None else int(log.rows[event]),
        }
        for user, event in zip(users.tolist(), events.tolist(), strict=True)
    ]
