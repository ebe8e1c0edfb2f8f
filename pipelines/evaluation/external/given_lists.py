"""Lists of another system, measured as those of a model: same users, protocol and metrics."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import provenance, records
from pipelines.artifacts.held_out import HeldOutUsers, read_held_out
from pipelines.evaluation import details, evaluate, lists
from pipelines.evaluation.rankers.full_ranking import EMPTY_SLOT
from pipelines.sources.list_files import ITEMS, USER_ID, ListFile
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.release import folders, storage

_FORM = (
    "Parquet has the columns user_id and items (a list of ids, best first); lines of JSON are such "
    'as {"user_id": "7", "items": ["12", "5"]}.'
)

_MANY = 0.05
"""Share of lists, or of their places, that is worth a warning."""

_READ_ROWS = 10_000
"""Lists in memory at a time, beside those that are kept."""

_log = logging.getLogger(__name__)


def read_lists(path: str) -> dict[str, list[str]]:
    """User -> item ids, best first.

    Args:
        path: A file of JSON lines, a `.parquet` file, a folder or a pattern of such, here or in
            an object store. What `recall recommend` writes is one.

    Raises:
        InputError: The file cannot be read, has another form or a user twice.
    """
    file = ListFile(path, USER_ID, ITEMS, ("recommendations",), remedy=_FORM)
    found: dict[str, list[str]] = {}
    for table in file.read(_READ_ROWS):
        rows = zip(table[USER_ID].to_pylist(), table[ITEMS].to_pylist(), strict=True)
        for user, items in rows:
            if user in found:
                raise InputError(f"{path}: user {user!r} has two lists. Leave one.")
            found[user] = items
    if not found:
        raise InputError(f"{path} has no lists. {_FORM}")
    return found


def to_rows(
    given: dict[str, list[str]],
    held_out: HeldOutUsers,
    vocabulary: ItemVocabulary,
    width: int,
    *,
    exclude_seen: bool,
) -> np.ndarray:
    """The lists of the held-out users as rows of the vocabulary.

    Seen items go first where the protocol removes them, then repeated ones; an item outside the
    catalogue keeps its place, as it would for a user, and hits nothing.

    Args:
        given: User -> item ids, best first.
        held_out: Whose lists are measured; those of others are left out.
        vocabulary: The items.
        width: Places that are measured.
        exclude_seen: Whether items of a user's history are removed.

    Returns:
        `[num_users, width]` int32, `EMPTY_SLOT` behind the last item, where an item is unknown,
        and for a user without a list.

    Raises:
        InputError: No held-out user has a list, or no item of theirs is known.
    """
    row_of = {item_id: row for row, item_id in enumerate(vocabulary.item_ids)}
    rows = np.full((held_out.num_users, width), EMPTY_SLOT, np.int32)
    has_list = np.zeros(held_out.num_users, bool)
    lengths, wanted = np.zeros((2, held_out.num_users), int)
    for user, user_id in enumerate(held_out.user_ids):
        own = given.get(user_id.decode())
        if own is None:
            continue
        has_list[user] = True
        seen = set((held_out.histories[user] - FIRST_ITEM_ID).tolist()) if exclude_seen else set()
        distinct = dict.fromkeys(own)
        kept = [row for one in distinct if (row := row_of.get(one, EMPTY_SLOT)) not in seen]
        lengths[user] = min(len(kept), width)
        wanted[user] = min(width, vocabulary.num_items - len(seen))
        rows[user, : len(kept)] = kept[:width]
    if not has_list.any():
        example = held_out.user_ids[0].decode()
        raise InputError(f"No test user has a list; there should be one of user {example!r}.")
    _tell_gaps(given, held_out, vocabulary, rows, has_list, lengths)
    _tell_short(lengths[has_list], wanted[has_list], width)
    return rows


def _tell_gaps(
    given: dict[str, list[str]],
    held_out: HeldOutUsers,
    vocabulary: ItemVocabulary,
    rows: np.ndarray,
    has_list: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Warns of what makes metrics lower that has nothing to do with the other system.

    Raises:
        InputError: No item of the lists is one of the catalogue.
    """
    num_slots, num_known = int(lengths.sum()), int((rows != EMPTY_SLOT).sum())
    if num_slots and not num_known:
        user = held_out.user_ids[int(lengths.argmax())].decode()
        raise InputError(
            f"No item of the lists is in the catalogue: the list of user {user!r} begins with "
            f"{given[user][0]!r}, ids of the log are such as {vocabulary.item_ids[0]!r}."
        )
    if missing := int((~has_list).sum()):
        _log.warning(
            "%d of %d test users have no list: all their clicks are misses.",
            missing,
            held_out.num_users,
        )
    if (num_slots - num_known) >= _MANY * num_slots > 0:
        _log.warning(
            "%d of %d places hold items that the catalogue does not have: they hit nothing.",
            num_slots - num_known,
            num_slots,
        )


def _tell_short(lengths: np.ndarray, wanted: np.ndarray, width: int) -> None:
    """Warns where lists have fewer items than are measured, and than the user could be shown."""
    is_short = lengths < wanted
    if is_short.sum() >= _MANY * len(lengths):
        _log.warning(
            "%d of %d lists have fewer than the %d items that are measured, the shortest %d, "
            "without seen and repeated ones: metrics further down are those of shorter lists.",
            int(is_short.sum()),
            len(lengths),
            width,
            int(lengths[is_short].min()),
        )


@provenance.measured
def run_list_evaluation(
    examples_dir: str | Path,
    lists_path: str,
    evaluation_dir: str | Path,
    config: RecallConfig,
) -> dict[str, Any]:
    """Measures the lists of another system, and the baselines, on the test users.

    Args:
        examples_dir: Folder of a finished `recall ingest`.
        lists_path: As in `read_lists`.
        evaluation_dir: Folder to write: report.json and users.parquet. It appears whole, or
            stays as it was.
        config: Its section `evaluation`.

    Returns:
        The content of report.json; `test` is what the lists have.

    Raises:
        InputError: An input is missing, damaged or of another form.
    """
    examples = records.require(examples_dir, "ingest")
    inputs = {
        **examples["inputs"],
        "examples": records.checksum_of_record(examples_dir, "ingest"),
        "lists": hashlib.sha256(json.dumps(given := read_lists(lists_path)).encode()).hexdigest(),
    }
    record = records.build_record(records.LISTS_JOB, config.to_dict(["evaluation"]), inputs)
    vocabulary = records.read_vocabulary(examples_dir)
    held_out, options = read_held_out(examples_dir, "test"), config.evaluation
    rows = to_rows(
        given, held_out, vocabulary, max(options.all_ks), exclude_seen=options.exclude_seen
    )
    measured = lists.measure_lists(rows, held_out, options.all_ks)
    sections, top_rows = {}, {"model": rows}
    for name, ranker in evaluate.baseline_rankers(examples_dir, vocabulary, options).items():
        sections[name], top_rows[name] = evaluate.measure_ranker(
            name, ranker, held_out, vocabulary, options
        )
    report: dict[str, Any] = {
        "format": evaluate.FORMAT,
        "is_of_lists": True,
        "protocol": evaluate.describe_protocol(examples_dir, None, options, vocabulary),
        "log": _describe_log(Path(examples_dir)),
        "num_items": vocabulary.num_items,
        "num_users": {"test": held_out.num_users},
        "test": lists.describe(measured, held_out, vocabulary, options.all_ks),
        "baselines": sections,
        "index": None,
    }
    with folders.atomic_directory(evaluation_dir) as staging:
        storage.write_json(staging / records.REPORT_NAME, report)
        users = details.collect_user_results(held_out, top_rows)
        users.write(staging / records.USERS_NAME)
        records.write_record(staging, record)
    return report


def _describe_log(examples_dir: Path) -> dict[str, Any]:
    """What the log is called, and how much of it there is; {} where ingest left no report."""
    path = examples_dir / records.INGEST_REPORT_NAME
    if not path.exists():
        return {}
    report = storage.read_json(path)
    return {"source": report.get("source"), **report.get("kept", {})}
