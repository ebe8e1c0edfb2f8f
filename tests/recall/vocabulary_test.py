import numpy as np
import pyarrow as pa
import pytest

from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID, PADDING_ID, UNKNOWN_ID, ItemVocabulary, schema


def _vocabulary():
    return ItemVocabulary(
        ["b", "a", "ü"], [5, 3, 0], [("x", "y"), (), ("x",)], ["Bee", None, "Umlaut"]
    )


def test_ids_start_after_padding_and_unknown():
    assert (PADDING_ID, UNKNOWN_ID, FIRST_ITEM_ID) == (0, 1, 2)
    vocabulary = _vocabulary()
    assert vocabulary.num_items == len(vocabulary) == 3
    assert vocabulary.table_size == 5


def test_to_dense():
    dense = _vocabulary().to_dense(["ü", "", "zebra", "b", "a"])
    assert dense.dtype == np.int64
    assert dense.tolist() == [4, 0, 1, 2, 3]


def test_to_dense_of_nothing():
    assert _vocabulary().to_dense([]).tolist() == []


def test_to_raw():
    assert _vocabulary().to_raw(np.array([4, 2, 3])) == ["ü", "b", "a"]


@pytest.mark.parametrize("dense_id", [-1, 0, 1, 5])
def test_to_raw_refuses_what_is_no_item(dense_id):
    with pytest.raises(InputError, match=rf"Dense id {dense_id} is no item; items have 2 to 4"):
        _vocabulary().to_raw([2, dense_id])


def test_contains():
    assert "a" in _vocabulary()
    assert "" not in _vocabulary()


@pytest.mark.parametrize(
    ("item_id", "reason"),
    [
        ("two\nlines", "has a line break, or NUL"),
        ("carriage\rreturn", "has a line break, or NUL"),
        ("end\n", "has a line break, or NUL"),
        ("nul\0", "has a line break, or NUL"),
        ("\ud800", "is not valid Unicode"),
    ],
)
def test_ids_that_no_release_can_hold_are_refused(item_id, reason):
    with pytest.raises(InputError, match=f"^Item id .* {reason}.*Rename the item"):
        ItemVocabulary(["x", item_id])


def test_odd_ids_that_a_release_can_hold():
    assert ItemVocabulary(["a\0b", " ", "\x85", "\u2028", "\0 "]).num_items == 5


def test_defaults():
    vocabulary = ItemVocabulary(["a"])
    assert vocabulary.counts.tolist() == [0]
    assert vocabulary.categories == ((),)
    assert vocabulary.titles == ("",)


def test_counts_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        _vocabulary().counts[0] = 7


def test_table_round_trip():
    table = _vocabulary().to_table()
    assert table.schema.equals(schema())
    assert table.to_pydict() == {
        "item_id": ["b", "a", "ü"],
        "count": [5, 3, 0],
        "categories": [["x", "y"], [], ["x"]],
        "title": ["Bee", "", "Umlaut"],
    }
    again = ItemVocabulary.from_table(table)
    assert again.item_ids == ("b", "a", "ü")
    assert again.counts.tolist() == [5, 3, 0]
    assert again.categories == (("x", "y"), (), ("x",))
    assert again.titles == ("Bee", "", "Umlaut")


def test_from_table_names_a_missing_column():
    with pytest.raises(InputError, match="'categories'"):
        ItemVocabulary.from_table(pa.table({"item_id": ["a"], "count": [1]}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "has no items"),
        ((["a", ""],), "empty item id"),
        ((["a", "b", "a"],), "repeats 1 item ids"),
        ((["a", "b"], [1]), "2 items but 1 `counts`"),
        ((["a"], [1], [(), ()]), "1 items but 2 `categories`"),
        ((["a"], [1], [()], []), "1 items but 0 `titles`"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        ItemVocabulary(*arguments)
