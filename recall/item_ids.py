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
    item_ids = list(item_ids)
    if not _may_be_unusable("\x01".join(item_ids)):
        return
    is_unusable = re.compile(UNUSABLE_ITEM_ID).search
    for item_id in item_ids:
        if is_unusable(item_id):
            reason = "has a line break, or NUL at its end"
        elif not is_unicode(item_id):
            reason = "is not valid Unicode"
        else:
            continue
        raise InputError(f"Item id {item_id!r} {reason}. Rename the item.")


def _may_be_unusable(joined: str) -> bool:
    """Whether there is a reason to look at the ids one by one, which takes longer."""
    return any(part in joined for part in "\n\r\0") or not is_unicode(joined)


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
