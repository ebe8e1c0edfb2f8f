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
_START = np.uint32(0xFFFFFFFF)
_WORD_BYTES = 4
_BLOCK_BYTES = 1 << 10
"""Longer ranges are cut, so that one that is very long does not make all steps alone."""


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
    starts, lengths = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
    counts = np.maximum(-(-lengths // _BLOCK_BYTES), 1)
    head_bytes = lengths - (counts - 1) * _BLOCK_BYTES
    heads = np.cumsum(counts) - counts
    owners = np.repeat(np.arange(len(counts)), counts)
    blocks = np.arange(len(owners)) - heads[owners]
    begins = starts[owners] + head_bytes[owners] + (blocks - 1) * _BLOCK_BYTES
    begins[heads] = starts
    sizes = np.full(len(owners), _BLOCK_BYTES)
    sizes[heads] = head_bytes
    states = np.zeros(len(owners), np.uint32)
    states[heads] = _START
    states = _advance(states, data, begins, sizes)
    total = states[heads]
    for step in range(1, int(counts.max(initial=1))):
        rows = np.flatnonzero(counts > step)
        total[rows] = _over_block(total[rows]) ^ states[heads[rows] + step]
    return ~total


def _advance(
    states: np.ndarray, data: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """The states after each has gone over its range, all of them at once."""
    by_byte, low, high = _tables()
    order = np.argsort(-lengths, kind="stable")  # Those that still go on are the first ones.
    at, lengths, state = starts[order], lengths[order], states[order]
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
    advanced = np.empty(len(order), np.uint32)
    advanced[order] = state
    return advanced


def _over_block(states: np.ndarray) -> np.ndarray:
    """The states after a block of zeros: what is before a block does to what is after it."""
    tables = _block_tables()
    shifted = tables[0][states & 0xFF]
    for at in range(1, _WORD_BYTES):
        shifted = shifted ^ tables[at][(states >> np.uint32(8 * at)) & 0xFF]
    return shifted


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


@functools.cache
def _block_tables() -> np.ndarray:
    """`[4, 256]`, for each byte of a state what a block of zeros makes of it."""
    states = (np.arange(256) << (8 * np.arange(_WORD_BYTES))[:, None]).astype(np.uint32).ravel()
    zeros, sizes = np.zeros(len(states), np.int64), np.full(len(states), _BLOCK_BYTES)
    data = np.zeros(_BLOCK_BYTES, np.uint8)
    return _advance(states, data, zeros, sizes).reshape(_WORD_BYTES, 256)
