"""CRC-32C (Castagnoli) of many byte ranges at once, and the form of it that TFRecord files hold.

Pure functions over numpy; imports no TensorFlow.

Reference:
    RFC 3720, appendix B.4; `tensorflow/core/lib/hash/crc32c.h` for the mask.
"""

import functools

import numpy as np

_POLYNOMIAL = np.uint32(0x82F63B78)
"""Castagnoli's, with the lowest bit first."""

_MASK_DELTA = np.uint32(0xA282EAD8)
_WORD_BYTES = 4


def crc32c(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Checksums of the ranges `data[start : start + length]`.

    Args:
        data: `[n]` uint8.
        starts: `[num_ranges]` int.
        lengths: `[num_ranges]` int, >= 0.

    Returns:
        `[num_ranges]` uint32.

    >>> text = np.frombuffer(b"123456789", np.uint8)
    >>> hex(crc32c(text, np.array([0]), np.array([9]))[0])
    '0xe3069283'
    """
    by_byte, low, high = _tables()
    order = np.argsort(-lengths, kind="stable")  # Those that still go on are the first ones.
    at, lengths = starts[order].astype(np.int64), lengths[order]
    state = np.full(len(order), 0xFFFFFFFF, np.uint32)
    odd = lengths % _WORD_BYTES
    for step in range(_WORD_BYTES - 1):
        rows = np.flatnonzero(odd > step)
        byte = data[at[rows]]
        state[rows] = by_byte[(state[rows] ^ byte) & 0xFF] ^ (state[rows] >> np.uint32(8))
        at[rows] += 1
    num_words = lengths // _WORD_BYTES
    most = int(num_words[0]) if len(num_words) else 0
    active = np.searchsorted(-num_words, -np.arange(most), side="left")
    words = np.ndarray((max(0, len(data) - 3),), "<u4", data, 0, (1,)) if most else data
    for step, size in enumerate(active.tolist()):
        mixed = state[:size] ^ words[at[:size] + step * _WORD_BYTES]
        state[:size] = low[mixed & 0xFFFF] ^ high[mixed >> np.uint32(16)]
    checksums = np.empty(len(order), np.uint32)
    checksums[order] = ~state
    return checksums


def mask(checksums: np.ndarray) -> np.ndarray:
    """What is stored instead, because a checksum of data with its checksum tells little."""
    rotated = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return rotated + _MASK_DELTA


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The step of one byte, and of the low and high halves of a word of four."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    after = [table]
    for _ in range(_WORD_BYTES - 1):
        after.append(table[after[-1] & 0xFF] ^ (after[-1] >> np.uint32(8)))
    halves = np.arange(1 << 16)
    first, second = halves & 0xFF, halves >> 8
    return table, after[3][first] ^ after[2][second], after[1][first] ^ after[0][second]
