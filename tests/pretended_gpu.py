"""TensorFlow that says it sees GPUs, on a machine without one: what follows shows without them.

Keras reads `tensorflow.compat.v2`, a module of its own: both have to say so.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

NAME = "NVIDIA H100 80GB HBM3"


def pretend(set_attribute: Callable[[Any, str, Any], None] = setattr) -> Any:
    """Makes TensorFlow list one GPU.

    Args:
        set_attribute: What sets an attribute of a module, as `monkeypatch.setattr`.

    Returns:
        The GPU, a `tf.config.PhysicalDevice`.
    """
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    physical, logical = tf.config.list_physical_devices, tf.config.list_logical_devices
    for config in (tf.config, tf.compat.v2.config):
        for name, real in (("list_physical_devices", physical), ("list_logical_devices", logical)):
            set_attribute(config, name, _with_gpu(real, gpu))
    details = {"device_name": NAME}
    set_attribute(tf.config.experimental, "get_device_details", lambda gpu: details)
    return gpu


def _with_gpu(real: Callable[..., list], gpu: Any) -> Callable[..., list]:
    """A list of devices that has the GPU too."""

    def list_devices(device_type: str | None = None) -> list:
        if device_type == "GPU":
            return [gpu]
        return [*real(device_type), *([gpu] if device_type is None else [])]

    return list_devices
