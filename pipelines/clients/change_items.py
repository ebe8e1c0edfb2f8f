"""The items command: changes of the catalogue of a running server, in batches.

Imports no TensorFlow.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.progress import tasks
from pipelines.sources import items as items_files
from pipelines.sources.feature_values import DeclaredColumn
from pipelines.sources.tables import table_files
from recall.errors import InputError
from serving.api.caller import TIMEOUT_S
from serving.api.client import Client
from serving.api.item_changes import MAX_CHANGES, UNKNOWN_COUNT, ItemUpsert
from serving.doors import admin
from serving.network.client_tls import NO_TLS, ClientTls

_log = logging.getLogger(__name__)


def change_items(
    server: str,
    upsert_file: items_files.ItemsFile | str | None,
    delete_ids: Sequence[str],
    *,
    features: Sequence[DeclaredColumn] = (),
    token_file: str | None = None,
    tls: ClientTls = NO_TLS,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Sends an items file, then deletions; a batch is in effect when its answer is here.

    Args:
        server: `host:port` of its gRPC door, or `http://host:port`, or
            `https://host:port`.
        upsert_file: Items file, or its path, None for none.
        delete_ids: Raw ids.
        features: Declared features and attributes of items, whose columns of the file are sent too.
        token_file: File with the admin token, None for none.
        tls: Certificates.
        timeout_s: Longest wait for one batch.

    Returns:
        One line for people.

    Raises:
        InputError: A file cannot be read, or the server does not answer or
            refuses a batch; the text says how many were done before.
    """
    token = None if token_file is None else admin.read_token(token_file)
    upsert_file = items_files.ItemsFile.of(upsert_file)
    items = [] if upsert_file is None else _read_upserts(upsert_file, features)
    if upsert_file is not None and not features:
        _tell_of_other_columns(upsert_file)
    upserts = list(_batches(items))
    deletions = _batches(list(dict.fromkeys(delete_ids)))
    done = {"upsert": 0, "delete": 0, "unknown": 0}
    num_items = UNKNOWN_COUNT
    with Client(server, token=token, tls=tls, timeout_s=timeout_s) as client:
        calls = [("upsert", client.upsert_items, batch) for batch in upserts]
        calls += [("delete", client.delete_items, batch) for batch in deletions]
        total = sum(len(batch) for _, _, batch in calls)
        with tasks.open_task("send changes", total=total, unit="items", rate="items") as task:
            for kind, send, batch in calls:
                try:
                    _, num_items, num_changed = send(batch)
                except InputError as error:
                    raise InputError(f"{error} {_count(done)} before that.") from error
                done[kind] += num_changed
                if kind == "delete":
                    done["unknown"] += len(batch) - num_changed
                task.advance(len(batch))
    if num_items == UNKNOWN_COUNT:
        return f"{_count(done)}."
    return f"{_count(done)}; the server now has {num_items} items."


def _read_upserts(
    file: items_files.ItemsFile, features: Sequence[DeclaredColumn]
) -> list[ItemUpsert]:
    """The items of a file, with their values of declared features."""
    table = file.read(features)
    own = [column for column in features if column.source not in items_files.FROM_FIELDS]
    rows = table.select(items_files.ITEM_SCHEMA.names).to_pylist()
    values = items_files.features_of(table, own).to_pylist() if own else [{}] * len(rows)
    several = {column.name for column in own if column.kind != "categorical"}
    several |= {column.name for column in own if column.has_several_values}
    upserts = []
    for row, of_row in zip(rows, values, strict=True):
        given = {name: value for name, value in of_row.items() if value not in (None, [], "")}
        given = {n: value if n in several else value[0] for n, value in given.items()}
        upserts.append(ItemUpsert(**row, features=given or None))
    return upserts


def _tell_of_other_columns(file: items_files.ItemsFile) -> None:
    """Says which columns are not sent because no features are declared."""
    columns = file.columns
    sent = {columns.item_id, columns.title, *columns.category.split(",")}
    table = next(iter(table_files.open_tables(file.path, file.options)))
    if others := [name for name in table.names if name not in sent]:
        _log.info(
            "Not sent: %s. Where the release has them as features or attributes, pass the settings "
            "that declare them (--config).",
            ", ".join(others),
        )


def _batches(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), MAX_CHANGES):
        yield values[start : start + MAX_CHANGES]


def _count(done: dict[str, int]) -> str:
    text = f"{done['upsert']} items upserted, {done['delete']} deleted"
    if done["unknown"]:
        what = "id was no item" if done["unknown"] == 1 else "ids were no items"
        text += f" ({done['unknown']} {what} of the server; remembered as deleted)"
    return text
