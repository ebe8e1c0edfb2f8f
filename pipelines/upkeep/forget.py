"""`recall forget`: examples without some users, as if they had never clicked."""

import contextlib
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.artifacts import provenance, records
from pipelines.artifacts.event_columns import COLUMNS
from pipelines.upkeep import shown_users
from pipelines.upkeep.change import Change
from pipelines.upkeep.examples_folder import locked_examples
from recall.config import RecallConfig
from serving.release import folders, storage

_log = logging.getLogger(__name__)

_SHARE = "max_unknown_share"


def _settings_of(settings: Mapping[str, Any], examples_dir: Path) -> RecallConfig:
    """The settings that examples were made with."""
    features = {name: settings.get(name, []) for name in ("features", "attributes")}
    features["columns"] = features.pop("features")
    statistics = storage.read_json(examples_dir / records.STATISTICS_NAME)
    report = storage.read_json(examples_dir / records.INGEST_REPORT_NAME)
    for told in (statistics.get(COLUMNS), report.get("item_features")):
        if told and _SHARE in told:  # Only told of: it changes no example.
            features[_SHARE] = told[_SHARE]
    sections = {name: settings[name] for name in ("ingest", "model")}
    return RecallConfig.from_dict({**sections, "features": features})


@provenance.measured
def forget_users(examples_dir: str | Path, user_ids: pa.StringArray) -> tuple[int, dict[str, Any]]:
    """Removes users from the examples, the held-out sets and the kept sequences.

    All files that held a shard with one of them are written anew, so that nothing of
    them is left. A model that learnt from them is another matter: train it again.

    Args:
        examples_dir: What ingest made with `ingest.keep_sequences`.
        user_ids: Their raw ids.

    Returns:
        How many of them were there, and the report.

    Raises:
        InputError: The folder is not usable, or too little would be left.
    """
    examples_dir = Path(examples_dir)
    with contextlib.ExitStack() as stack:
        record = stack.enter_context(locked_examples(examples_dir))
        if not shown_users.names_any(examples_dir, user_ids):
            _log.info("%s has none of these users: it stays as it is.", examples_dir)
            return 0, storage.read_json(examples_dir / records.INGEST_REPORT_NAME)
        config = _settings_of(record["settings"], examples_dir)
        texts = "\0".join(sorted(user_ids.to_pylist()))
        record["inputs"]["forgotten"] = hashlib.sha256(
            (record["inputs"].get("forgotten", "") + texts).encode()
        ).hexdigest()
        staging = stack.enter_context(
            folders.atomic_directory(examples_dir, links_are_flushed=True)
        )
        number, report = Change(examples_dir, staging, config).forget(user_ids)
        records.write_record(staging, record)
    # The other lines are about the logs, as they were read.
    _log.info("%s", next(line for line in report["lines"] if line.startswith("Wrote ")))
    return number, report
