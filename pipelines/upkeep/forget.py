"""`recall forget`: examples without some users, as if they had never clicked."""

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.artifacts import provenance, records
from pipelines.upkeep import shown_users
from pipelines.upkeep.change import Change
from pipelines.upkeep.examples_folder import locked_examples
from recall.config import RecallConfig
from serving.release import folders, storage

_log = logging.getLogger(__name__)


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
        settings = {name: record["settings"][name] for name in ("ingest", "model")}
        config = RecallConfig.from_dict(settings)
        texts = "\0".join(sorted(user_ids.to_pylist()))
        record["inputs"]["forgotten"] = hashlib.sha256(
            (record["inputs"].get("forgotten", "") + texts).encode()
        ).hexdigest()
        staging = stack.enter_context(
            folders.atomic_directory(examples_dir, links_are_flushed=True)
        )
        number, report = Change(examples_dir, staging, config).forget(user_ids)
        records.write_record(staging, record)
    # The lines between are about the logs, as they were read.
    _log.info("%s", report["lines"][-1])
    return number, report
