"""For the tests of the library, which run on a GPU too (`make test-gpu`)."""

import pytest
import tensorflow as tf


@pytest.fixture(autouse=True, scope="session")
def whole_float32():
    """Tolerances are those of float32; a GPU rounds products to TF32 otherwise."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
