"""What a new release would lose of the one that is published.

Imports no TensorFlow. A log without its items file, or with other ids, trains
and evaluates well; only beside the last release does it show that filters by
category would find nothing, or that clients' items are unknown.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recall.errors import InputError
from serving.index.bundle import ITEMS_NAME
from serving.index.shards import Shard
from serving.release import manifest as manifests

_log = logging.getLogger(__name__)

REFUSED_SHARE = 0.5
"""Of anything counted here that is lost: no catalogue changes that much from one
training to the next unless something went wrong, or is meant to be another one."""

NAMED_SHARE = 0.1
"""From here on the loss is worth a line."""


class Loss(NamedTuple):
    """One thing that becomes less.

    Attributes:
        share: Part of what there was that is lost, in [0, 1].
        text: What, from how much to how much.
    """

    share: float
    text: str


def find_losses(published_index: Path, new_index: Path) -> list[Loss]:
    """Compares the items of two index bundles.

    Args:
        published_index: Of the newest release.
        new_index: Of the release to come.

    Returns:
        Losses of `NAMED_SHARE` and more; none where the bundles hold different
        shards of a catalogue, which cannot be compared.

    Raises:
        InputError: A table of items cannot be read.
    """
    manifest_of = [manifests.read(folder) for folder in (published_index, new_index)]
    if any(ITEMS_NAME not in manifest["files"] for manifest in manifest_of):
        return []
    if len({Shard.of_manifest(manifest) for manifest in manifest_of}) != 1:
        return []
    old, new = (_read(folder / ITEMS_NAME) for folder in (published_index, new_index))
    losses = [
        _loss_of_members("items", old["item_id"], new["item_id"]),
        _loss_of_members("categories", _names(old), _names(new)),
        _loss_of_share("items with a category", _has_category(old), _has_category(new)),
        _loss_of_share("items with a title", _has_title(old), _has_title(new)),
    ]
    return [loss for loss in losses if loss.share >= NAMED_SHARE]


def refuse_losses(losses: Sequence[Loss], published: str, *, allow_loss: bool) -> None:
    """Says what would be lost, and refuses a release that lacks too much.

    Args:
        losses: What `find_losses` found.
        published: The release before, for people.
        allow_loss: Whether any loss may be.

    Raises:
        InputError: Of something most would be lost.
    """
    if not losses:
        return
    text = "; ".join(loss.text for loss in losses)
    said = f"Compared with {published} the release loses: {text}"
    if allow_loss or max(loss.share for loss in losses) < REFUSED_SHARE:
        _log.warning("%s.", said)
        return
    raise InputError(
        f"{said}. Nothing was published. Check the log and the items file of the run, or pass "
        "--allow_loss to publish it all the same."
    )


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=["item_id", "categories", "title"])
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error


def _names(table: pa.Table) -> pa.ChunkedArray:
    """Distinct names of categories."""
    return pa.chunked_array([pc.unique(pc.list_flatten(table["categories"]))])


def _has_category(table: pa.Table) -> float:
    lengths = pc.fill_null(pc.list_value_length(table["categories"]), 0)
    return _mean(pc.greater(lengths, 0))


def _has_title(table: pa.Table) -> float:
    return _mean(pc.not_equal(pc.fill_null(table["title"], ""), ""))


def _mean(flags: pa.ChunkedArray) -> float:
    return pc.mean(flags).as_py() or 0.0


def _loss_of_members(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray) -> Loss:
    """Of the distinct values there were, those that are missing."""
    kept = pc.sum(pc.is_in(old, value_set=pc.unique(new))).as_py() or 0
    if not len(old):
        return Loss(0.0, "")
    lost = len(old) - kept
    return Loss(lost / len(old), f"{lost} of the {len(old)} {name}")


def _loss_of_share(name: str, old: float, new: float) -> Loss:
    """Of a share of all items, how much it falls."""
    if old == 0:
        return Loss(0.0, "")
    return Loss((old - new) / old, f"{name} ({100 * old:.0f} % -> {100 * new:.0f} %)")
