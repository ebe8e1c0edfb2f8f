"""Which texts can be raw item ids.

Imports the standard library alone: clients check with it what they send.
"""

import re
from collections.abc import Iterable

from recall.errors import InputError

UNUSABLE_ITEM_ID = r"[\n\r]|\x00$"
"""Pattern (`re` and RE2) of ids no release can hold: the towers' asset has one id per line,
the index's array drops NUL at the end."""


def check_item_ids(item_ids: Iterable[str]) -> None:
    """Refuses ids that no release can hold.

    Raises:
        InputError: An id matches `UNUSABLE_ITEM_ID` or is not valid Unicode.
    """
    is_unusable = re.compile(UNUSABLE_ITEM_ID).search
    for item_id in item_ids:
        if is_unusable(item_id):
            reason = "has a line break, or NUL at its end"
        elif not is_unicode(item_id):
            reason = "is not valid Unicode"
        else:
            continue
        raise InputError(f"Item id {item_id!r} {reason}. Rename the item.")


def is_unicode(text: str) -> bool:
    """Whether a text can be UTF-8: half a surrogate pair cannot.

    >>> is_unicode("ž"), is_unicode("\\ud800")
    (True, False)
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
