"""Expected values from RFC 3720 and from a loop over bits."""

import google_crc32c
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
    stops = np.cumsum([0, *map(len, texts)])
    return crc32c.of_ranges(data, stops[:-1], stops[1:]).tolist()


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
    texts = [rng.bytes(size) for size in (*rng.permutation(40), 1023, 5000)]
    assert checksums(*texts) == [by_bits(text) for text in texts]


def test_numbers_some_of_which_are_equal():
    numbers = np.array([7, 300, 7, 0, 1 << 40, 300], "<u8")
    expected = [by_bits(number.tobytes()) for number in numbers]
    assert crc32c.of_numbers(numbers).tolist() == expected


def test_nothing():
    assert checksums() == []
    assert crc32c.of_numbers(np.zeros(0, "<u8")).tolist() == []


def test_the_library_has_its_compiled_part():
    """In Python alone the checksums would take longer than all the rest."""
    assert google_crc32c.implementation == "c"


def test_the_mask_is_a_rotation_by_15_and_a_sum():
    # Rotated: 0x00000001 -> 1 << 17 = 0x00020000.
    masked = crc32c.mask(np.array([1, 0xFFFFFFFF], np.uint32)).tolist()
    assert masked == [0xA284EAD8, (0xFFFFFFFF + 0xA282EAD8) % (1 << 32)]
