"""CRC-32C (Castagnoli) of many byte ranges, and the form of it that TFRecord files hold.

Imports no TensorFlow.

Reference:
    RFC 3720, appendix B.4; `tensorflow/core/lib/hash/crc32c.h` for the mask.
"""

import google_crc32c
import numpy as np

_MASK_DELTA = np.uint32(0xA282EAD8)


def of_ranges(data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Checksums of the ranges `data[start:stop]`.

    Args:
        data: `[n]` uint8.
        starts: `[num_ranges]` int.
        stops: `[num_ranges]` int.

    Returns:
        `[num_ranges]` uint32.

    >>> text = np.frombuffer(b"..123456789", np.uint8)
    >>> hex(of_ranges(text, np.array([2]), np.array([11]))[0])
    '0xe3069283'
    """
    content, value = data.tobytes(), google_crc32c.value
    bounds = zip(starts.tolist(), stops.tolist(), strict=True)
    return np.fromiter((value(content[at:end]) for at, end in bounds), np.uint32, len(starts))


def of_numbers(numbers: np.ndarray) -> np.ndarray:
    """Checksums of the bytes of each number, many of which are equal: `[n]` to `[n]` uint32."""
    different, places = np.unique(numbers, return_inverse=True)
    starts = np.arange(len(different)) * numbers.itemsize
    return of_ranges(different.view(np.uint8), starts, starts + numbers.itemsize)[places]


def mask(checksums: np.ndarray) -> np.ndarray:
    """What is stored instead, because a checksum of data with its checksum tells little."""
    rotated = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return rotated + _MASK_DELTA
