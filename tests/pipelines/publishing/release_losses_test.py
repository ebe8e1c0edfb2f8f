"""What a new release would lose; tables of a few items, shares by hand."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.publishing.release_losses import find_losses
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.release import manifest as manifests

FOOD = [("fruit", "red"), ("fruit",), ("root",), ("root", "red"), (), ("leaf",), (), (), (), ()]


def write_index(folder: Path, ids, categories=None, titles=None, **values) -> Path:
    folder.mkdir(parents=True)
    table = ItemVocabulary(ids, None, categories, titles).to_table()
    pq.write_table(table, folder / "items.parquet")
    manifests.seal(folder, {"fingerprint": "f00d", **values})
    return folder


def losses(tmp_path, old, new) -> list[tuple[float, str]]:
    folders = write_index(tmp_path / "old", **old), write_index(tmp_path / "new", **new)
    return [(round(loss.share, 3), loss.text) for loss in find_losses(*folders)]


IDS = [f"i{n}" for n in range(10)]


def test_nothing_is_lost_of_the_same_items_or_of_more(tmp_path):
    old = {"ids": IDS, "categories": FOOD, "titles": ["t"] * 10}
    new = {"ids": [*IDS, "x"], "categories": [*FOOD, ("new",)], "titles": ["t"] * 11}
    assert losses(tmp_path, old, new) == []


def test_categories_that_vanish(tmp_path):
    old = {"ids": IDS, "categories": FOOD}
    assert losses(tmp_path, old, {"ids": IDS}) == [
        (1.0, "4 of the 4 categories"),
        (1.0, "items with a category (50 % -> 0 %)"),
    ]


def test_categories_of_other_names(tmp_path):
    old = {"ids": IDS, "categories": FOOD}
    new = {"ids": IDS, "categories": [tuple(n.upper() for n in names) for names in FOOD]}
    assert losses(tmp_path, old, new) == [(1.0, "4 of the 4 categories")]


def test_items_that_vanish_or_have_other_ids(tmp_path):
    assert losses(tmp_path, {"ids": IDS}, {"ids": IDS[:7]}) == [(0.3, "3 of the 10 items")]
    others = {"ids": [f"item_{n}" for n in range(99)]}
    assert losses(tmp_path / "b", {"ids": IDS}, others) == [(1.0, "10 of the 10 items")]


def test_titles(tmp_path):
    old = {"ids": IDS, "titles": ["t"] * 8 + ["", ""]}
    new = {"ids": IDS, "titles": ["t"] * 6 + [""] * 4}
    # 80 % had one, 60 % have: a quarter is lost.
    assert losses(tmp_path, old, new) == [(0.25, "items with a title (80 % -> 60 %)")]


def test_what_was_never_there_is_not_lost(tmp_path):
    assert losses(tmp_path, {"ids": IDS}, {"ids": IDS, "categories": FOOD}) == []


def test_less_than_a_tenth_is_not_named(tmp_path):
    ids = [f"i{n}" for n in range(100)]
    assert losses(tmp_path, {"ids": ids}, {"ids": ids[:91]}) == []
    assert losses(tmp_path / "b", {"ids": ids}, {"ids": ids[:90]}) == [(0.1, "10 of the 100 items")]


def test_another_shard_is_not_compared(tmp_path):
    first, second = {"number": 0, "count": 2}, {"number": 1, "count": 2}
    old = {"ids": IDS[:5], "shard": first}
    assert losses(tmp_path, old, {"ids": IDS[5:], "shard": second}) == []
    assert losses(tmp_path / "a", old, {"ids": IDS[5:], "shard": first})
    assert losses(tmp_path / "b", old, {"ids": IDS[5:]}) == []


def test_a_table_that_cannot_be_read(tmp_path):
    old, new = write_index(tmp_path / "old", IDS), write_index(tmp_path / "new", IDS)
    (old / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"old/items\.parquet"):
        find_losses(old, new)
