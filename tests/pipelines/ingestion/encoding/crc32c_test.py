"""Expected values from RFC 3720 and from a loop over bits."""

import numpy as np
import pytest

from pipelines.ingestion.encoding import crc32c


def by_bits(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def checksums(*texts):
    data = np.frombuffer(b"".join(texts) + b"end", np.uint8)
    lengths = np.array([len(text) for text in texts])
    return crc32c.crc32c(data, np.cumsum(lengths) - lengths, lengths).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_values_of_rfc_3720(text, expected):
    assert checksums(text) == [expected]


def test_ranges_of_all_lengths_at_once():
    rng = np.random.default_rng(4)
    texts = [rng.bytes(size) for size in rng.permutation(40)]
    assert checksums(*texts) == [by_bits(text) for text in texts]


def test_long_ranges_are_cut_into_blocks():
    rng = np.random.default_rng(5)
    texts = [rng.bytes(size) for size in (1023, 3, 1024, 1025, 0, 5000, 2048)]
    assert checksums(*texts) == [by_bits(text) for text in texts]


def test_nothing():
    assert checksums() == []


def test_the_mask_is_a_rotation_by_15_and_a_sum():
    # Rotated: 0x00000001 -> 1 << 17 = 0x00020000.
    masked = crc32c.mask(np.array([1, 0xFFFFFFFF], np.uint32)).tolist()
    assert masked == [0xA284EAD8, (0xFFFFFFFF + 0xA282EAD8) % (1 << 32)]
