"""A look at what a finished run learned: histories, and what is recalled for them.

Answers come from the published release through the recall service itself, in
this process.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.artifacts import held_out, records
from pipelines.artifacts.records import RunPaths
from pipelines.publishing import summary
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.api.recall_request import RecallRequest, RecallResponse
from serving.index.bundle import open_bundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.release import release, storage
from serving.retrieval.service import RecallService
from serving.servables.towers import SavedModelUserVectors

_SHOWN_CLICKS = 10
"""Latest clicks shown of a history: about three lines of text."""


def show_run(run_dir: str | Path, *, num_users: int = 3, k: int = 12) -> str:
    """The text `make demo` ends with.

    Args:
        run_dir: Folder of a finished run.
        num_users: Users of the test split to show, evenly spaced, not chosen.
        k: Items recalled for each.

    Returns:
        Histories, items by interest, the metrics and the next command.

    Raises:
        InputError: The run is not finished, or nothing is published.
    """
    paths = RunPaths.under(run_dir)
    records.require(paths.examples, "ingest")
    records.require(paths.evaluation, "evaluate")
    service = open_service(release.latest_release(paths.serving))
    vocabulary = records.read_vocabulary(paths.examples)
    users = held_out.read_held_out(paths.examples, "test")
    shown = np.unique(np.linspace(0, users.num_users - 1, num_users).astype(int))
    sections = []
    for row in shown:
        history = known_items(users.histories[row], vocabulary)
        answer = service.recall([RecallRequest(tuple(history), k=k)])[0]
        positives = set(known_items(users.positives[row], vocabulary))
        user_id = users.user_ids[row].decode()
        sections.append(describe_user(user_id, history, answer, positives, vocabulary))
    sections.append(summary.results(storage.read_json(paths.evaluation / records.REPORT_NAME)))
    sections.append(f"Next:\n  {summary.next_command(str(run_dir))}")
    return "\n\n".join(sections) + "\n"


def open_service(newest: release.Release) -> RecallService:
    """The recall service over a published release, without a server."""
    source = SavedModelUserVectors(newest.user_tower_dir, version=newest.version)
    catalogue = BundleCatalogue(open_bundle(newest.index_dir), version=newest.version)
    return RecallService(source, catalogue)


def known_items(dense_ids: Sequence[int], vocabulary: ItemVocabulary) -> list[str]:
    """Raw ids of those dense ids that are items, in their order."""
    return vocabulary.to_raw([i for i in dense_ids if i >= FIRST_ITEM_ID])


def describe_user(
    user_id: str,
    history: Sequence[str],
    answer: RecallResponse,
    positives: set[str],
    vocabulary: ItemVocabulary,
) -> str:
    """One user's latest clicks and the recalled items, a line per interest."""
    names = dict(zip(vocabulary.item_ids, item_names(vocabulary), strict=True))
    latest = ", ".join(names[item_id] for item_id in history[-_SHOWN_CLICKS:])
    lines = [
        f"User {user_id} clicked (the latest {min(_SHOWN_CLICKS, len(history))} of "
        f"{len(history)}, newest last):",
        f"  {latest}",
        "and is recalled, by interest:",
    ]
    by_interest: dict[int, list[str]] = {}
    for item in answer.items:
        mark = " (*)" if item.item_id in positives else ""
        by_interest.setdefault(item.interest, []).append(names[item.item_id] + mark)
    for interest in sorted(by_interest):
        lines.append(f"  interest {interest}: {', '.join(by_interest[interest])}")
    hidden = ", ".join(sorted(names[item_id] for item_id in positives))
    lines.append(f"(*) = what this user really clicked next, hidden from the model: {hidden}")
    return "\n".join(lines)


def item_names(vocabulary: ItemVocabulary) -> list[str]:
    """What to call each item: its title or id, with categories the title lacks."""
    names = []
    for item_id, title, categories in zip(
        vocabulary.item_ids, vocabulary.titles, vocabulary.categories, strict=True
    ):
        name = title or item_id
        missing = [category for category in categories if category not in name]
        names.append(f"{name} [{'|'.join(missing)}]" if missing else name)
    return names
