"""Candidate recall with disentangled multi-interest user towers.

    import recall

    run = recall.fit(events, items, output="runs/mine")
    run.recommend(histories=[["12", "57"]], k=10)
    with run.serve() as server, recall.Client(server.address) as client:
        answer = client.recommend(["12", "57"], k=10)

This package is the model library: configuration, layers, losses, towers and
models. It opens no file, no socket and defines no command-line flag.

The names above all others (`__all__`) are the door for people: they live in
`serving` and `pipelines` and are imported when they are first used (PEP 562).
That is the one exception to the direction of imports, and it is in this file
alone: nothing below this package imports them.

TensorFlow Recommenders needs Keras 2, which `tf.keras` is only when
`TF_USE_LEGACY_KERAS=1` is set before it is first used; importing this package
first therefore sets it, and does not import TensorFlow itself.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # For editors and type checkers; at run time `__getattr__` finds them.
    from pipelines.api.fitting import fit
    from pipelines.api.local_server import LocalServer, serve
    from pipelines.api.recommender import Recommender
    from pipelines.api.runs import Report, Run, load
    from recall.config import RecallConfig
    from recall.errors import InputError
    from serving.api.async_client import AsyncClient
    from serving.api.client import Client
    from serving.api.client_errors import CallError
    from serving.api.item_changes import ItemUpsert
    from serving.network.retries import RetryPolicy

__all__ = [
    "AsyncClient",
    "CallError",
    "Client",
    "InputError",
    "ItemUpsert",
    "LocalServer",
    "RecallConfig",
    "Recommender",
    "Report",
    "RetryPolicy",
    "Run",
    "fit",
    "load",
    "serve",
]

_HOMES = {
    "AsyncClient": "serving.api.async_client",
    "CallError": "serving.api.client_errors",
    "Client": "serving.api.client",
    "InputError": "recall.errors",
    "ItemUpsert": "serving.api.item_changes",
    "LocalServer": "pipelines.api.local_server",
    "RecallConfig": "recall.config",
    "Recommender": "pipelines.api.recommender",
    "Report": "pipelines.api.runs",
    "RetryPolicy": "serving.network.retries",
    "Run": "pipelines.api.runs",
    "fit": "pipelines.api.fitting",
    "load": "pipelines.api.runs",
    "serve": "pipelines.api.local_server",
}
"""Name -> module that defines it."""

# TensorFlow chooses its Keras when `tf.keras` is first used, which may be later than its
# import; `recall.legacy_keras` says so where it was too early.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

# Silence TensorFlow's start-up lines (CUDA probing, CPU features): a user's
# error should be the line that is seen. An explicit setting wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# TensorFlow takes all memory of a GPU otherwise, whatever a job needs.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# TensorFlow switches oneDNN's kernels on only where it finds AVX-512; on an AVX2
# machine (AMD EPYC, Zen 3) they made a training step 1.6 times faster.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports a name of `__all__` when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
