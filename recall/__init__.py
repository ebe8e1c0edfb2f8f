"""Candidate recall with disentangled multi-interest user towers.

This package is the model library: configuration, layers, losses, towers and
models. It opens no file, no socket and defines no command-line flag.

TensorFlow Recommenders needs Keras 2, which `tf.keras` is only when
`TF_USE_LEGACY_KERAS=1` is set before TensorFlow is imported; importing this
package first therefore sets it, and does not import TensorFlow itself.
"""

import os
import sys

_LEGACY_KERAS = "TF_USE_LEGACY_KERAS"

if os.environ.get(_LEGACY_KERAS, "").lower() not in ("1", "true"):
    if "tensorflow" in sys.modules:
        raise ImportError(
            "TensorFlow was imported before `recall`, with Keras 3 as `tf.keras`. "
            f"Set {_LEGACY_KERAS}=1 in the environment, or import `recall` first."
        )
    os.environ[_LEGACY_KERAS] = "1"

# Silence TensorFlow's start-up lines (CUDA probing, CPU features): a user's
# error should be the line that is seen. An explicit setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# TensorFlow switches oneDNN's kernels on only where it finds AVX-512; on an AVX2
# machine (AMD EPYC, Zen 3) they made a training step 1.6 times faster.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"
