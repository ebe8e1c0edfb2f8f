"""The order of a log, and events that are in it twice.

Pure functions over numpy; knows neither Beam nor TensorFlow and touches no files.
"""

import numpy as np


def order_by_code(codes: np.ndarray) -> np.ndarray:
    """The stable order of `[n]` int codes >= 0, by digits of 16 bits: numpy sorts these fast."""
    order = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    shift = 16
    most = int(codes.max(initial=0))
    while most >> shift:
        digit = ((codes >> shift) & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
        shift += 16
    return order


def order_events(users: np.ndarray, timestamps: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The order of a log by user, then timestamp, then row of the input.

    Logs mostly are in the order of time, which then costs a look.

    Args:
        users: `[n]` int, rank of the user among the users.
        timestamps: `[n]` float.
        rows: `[n]` int, each once.

    Returns:
        `[n]` positions of the events.
    """
    in_order = np.arange(len(users))
    if np.any(rows[1:] < rows[:-1]):
        in_order = np.argsort(rows, kind="stable")
    order = in_order[order_by_code(users[in_order])]
    times, owners = timestamps[order], users[order]
    if np.any((times[1:] < times[:-1]) & (owners[1:] == owners[:-1])):
        by_time = in_order[np.argsort(timestamps[in_order], kind="stable")]
        order = by_time[order_by_code(users[by_time])]
    return order


def find_duplicates(
    offsets: np.ndarray,
    items: np.ndarray,
    timestamps: np.ndarray,
    kinds: np.ndarray | None = None,
) -> np.ndarray:
    """Marks events that repeat an earlier one: same user, item, timestamp and kind.

    Args:
        offsets: `[num_users + 1]` of an ordered log.
        items: `[n]` int numbers of the items.
        timestamps: `[n]` float.
        kinds: `[n]` int8; None where all events are of one kind.

    Returns:
        `[n]` bool; the first of equal events is not marked.
    """
    duplicates = np.zeros(len(items), bool)
    if len(items) == 0:
        return duplicates
    is_first = np.ones(len(items), bool)  # of the events of one user at one time
    np.not_equal(timestamps[1:], timestamps[:-1], out=is_first[1:])
    is_first[offsets[:-1]] = True
    alone = is_first & np.append(is_first[1:], True)
    shared = np.flatnonzero(~alone)
    if len(shared) == 0:
        return duplicates
    moments, shared_items = np.cumsum(is_first[shared]), items[shared].astype(np.int64)
    if kinds is not None:
        shared_items = (shared_items << 8) | kinds[shared]
    order = order_by_code(shared_items)
    order = order[order_by_code(moments[order])]
    same = np.diff(moments[order]) == 0
    same &= np.diff(shared_items[order]) == 0
    duplicates[shared[order[1:][same]]] = True
    return duplicates
