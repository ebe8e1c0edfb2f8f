"""Where examples name users: in their sequences, and in reports, which show some of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.artifacts import records
from pipelines.ingestion import kept_sequences
from serving.release import storage

_REMOVED = "(removed)"


def hide(value: Any, user_ids: frozenset[str]) -> Any:
    """Plain values in which rows that were shown of some users name them no longer."""
    if isinstance(value, list):
        return [hide(one, user_ids) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: hide(one, user_ids) for name, one in value.items()}
    if found.get("user_id") in user_ids:
        found["user_id"] = _REMOVED
        if "targets" in found:
            found["targets"] = 0
    if "look_alikes" in found:
        example = found["look_alikes"]["example"]
        shown = [_REMOVED if one in user_ids else one for one in example]
        found["look_alikes"] = {**found["look_alikes"], "example": shown}
    return found


def names_any(examples_dir: Path, user_ids: pa.StringArray) -> bool:
    """Whether a file of the examples names one of some users, be it one who does not count."""
    for log in kept_sequences.read_users(examples_dir):
        if pc.any(pc.is_in(log, value_set=user_ids)).as_py():
            return True
    wanted = frozenset(user_ids.to_pylist())
    shown = (
        kept_sequences.read_state(examples_dir),
        storage.read_json(examples_dir / records.INGEST_REPORT_NAME),
    )
    return any(hide(one, wanted) != one for one in shown)
