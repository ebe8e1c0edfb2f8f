import pytest

from recall.errors import InputError
from recall.item_ids import check_item_ids


def test_ids_of_any_language_are_usable():
    check_item_ids(["", "7", "007", " a b ", "a\tb", "žluť", "\x00a", "😀"])


@pytest.mark.parametrize(
    ("item_id", "reason"),
    [
        ("a\nb", "has a line break, or NUL at its end"),
        ("a\r", "has a line break, or NUL at its end"),
        ("a\x00", "has a line break, or NUL at its end"),
        ("\ud800", "is not valid Unicode"),
    ],
)
def test_ids_that_no_release_can_hold_are_refused(item_id, reason):
    with pytest.raises(InputError) as caught:
        check_item_ids(["a", item_id])
    assert str(caught.value) == f"Item id {item_id!r} {reason}. Rename the item."
