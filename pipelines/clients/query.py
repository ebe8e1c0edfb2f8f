"""Flags to a request, and the answer as text for people: `recall query`.

The client itself is in `serving.api.client`. Imports neither TensorFlow nor NumPy.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.publishing import summary
from recall.errors import InputError
from recall.item_ids import is_unicode
from serving.api import recall_json
from serving.api.recall_limits import RecallLimits, check_requests
from serving.api.recall_request import (
    FALLBACK_INTEREST,
    REQUEST_FIELDS,
    RecallRequest,
    RecallResponse,
)
from serving.api.request_fields import Kind
from serving.protocol.status import ServingError

REQUEST_FLAGS = tuple(field.name for field in REQUEST_FIELDS if field.flag)
"""The flags that are fields of a request, by the same names."""


def _flags_of(kind: Kind) -> set[str]:
    return {field.name for field in REQUEST_FIELDS if field.flag and field.kind is kind}


def build_request(given: Mapping[str, Any]) -> RecallRequest:
    """The request that flags ask for; what `POST /recall` refuses is refused here.

    Args:
        given: Values of the flags that are on the command line, by name.

    Raises:
        InputError: A weight is no number, an id or a name is empty, or the
            request makes no sense.
    """
    document = dict(given)
    for name in document.keys() & _flags_of(Kind.NUMBERS):
        document[name] = _numbers(name, document[name])
    for name in document.keys() & _flags_of(Kind.TEXTS):
        if "" in document[name]:
            raise InputError(
                f"--{name}={','.join(document[name])} has an empty entry. Separate entries by one "
                "comma."
            )
        if not is_unicode("".join(document[name])):
            raise InputError(f"--{name} has a text that is not valid UTF-8. Correct it.")
    try:
        for field in REQUEST_FIELDS:
            if field.kind.is_document and field.name in document:
                text = document[field.name]
                document[field.name] = recall_json.read_document(field.name, field.kind, text)
    except ServingError as error:
        raise InputError(f"--{error.message[1:].replace('`', '', 1)}") from error
    subjects = [field.name for field in REQUEST_FIELDS if field.is_subject and field.flag]
    if not document.keys() & set(subjects):
        raise InputError(
            f"Give {' or '.join(f'--{name}' for name in subjects)}; --history= is a new visitor."
        )
    try:
        request = recall_json.parse_request(document)
    except ServingError as error:
        raise InputError(error.message) from error
    check_requests([request], RecallLimits())
    return request


def _numbers(name: str, texts: list[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise InputError(
            f"--{name}={','.join(texts)} must be numbers separated by commas."
        ) from error


def _one_line(text: str) -> str:
    """A text of an item without what would break the line, or steer the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def format_answer(answer: RecallResponse) -> str:
    """The answer as a table, best item first, and a line about where it is from."""
    rows = [["rank", "item", "score", "interest"]]
    metadata = answer.metadata
    if metadata is not None:
        rows[0] += ["title", "categories"]
    for rank, item in enumerate(answer.items, 1):
        interest = "popular" if item.interest == FALLBACK_INTEREST else str(item.interest)
        rows.append([str(rank), item.item_id, f"{item.score:.4f}", interest])
        if metadata is not None:
            texts = (metadata.titles[rank - 1], "|".join(metadata.categories[rank - 1]))
            rows[-1] += [_one_line(text) for text in texts]
    notes = [f"index version {answer.index_version}"]
    if answer.model_version:
        notes[0] += f", model version {answer.model_version}"
        where = " in the history"
    else:  # No tower was asked: ids are those of --similar_to.
        where = ""
    notes.append(f"{answer.num_known} known and {answer.num_unknown} unknown ids{where}")
    if not rows[1:]:
        notes.append("no item passes the filters")
    if answer.unknown_categories:
        names = ", ".join(_one_line(name) for name in answer.unknown_categories)
        notes.append(f"no category of the server's items: {names}")
    if answer.is_fallback:
        notes.append("no known id in the history: these are the popular items")
    if answer.interest_weights:
        weights = ", ".join(f"{weight:.3f}" for weight in answer.interest_weights)
        notes.append(f"weights of the interests {weights}")
    if answer.degraded:
        notes.append(f"the time was too short: {answer.coverage:.0%} of the answer")
    return summary.align(rows) + "\n" + "; ".join(notes) + "\n"
