"""The type that layers compute in."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def layers_compute_in(dtype: str) -> Iterator[None]:
    """Layers made inside the block have weights in float32 and compute in `dtype`."""
    before = tf.keras.mixed_precision.global_policy()
    policy = "float32" if dtype == "float32" else f"mixed_{dtype}"
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
