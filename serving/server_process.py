"""What a process is set to before it serves: threads of products, garbage, descriptors."""

import gc
import os

import threadpoolctl

from serving.http_door.limits import raise_descriptor_limit

_TENSORFLOW_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Environment variables that TensorFlow reads. Its threads wait for each other longer than
the products of a tower last: with one, a lone history costs 1.1 CPU-ms instead of 2.2 (and
as much less time), each of 16 0.43 instead of 0.59 (two cores, measured)."""

_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables of numpy's products. Their threads wait for each other by turning: while
a core is busy with another request, or with the client, a product of 2 ms costs the time of both
cores. With one thread a request of exact search over 10^4 items costs 2.4 CPU-ms instead of 5 to
77 (two cores, measured)."""

_GC_THRESHOLD = 20_000
"""New objects that start a garbage collection. Python's 700 are the live objects of a few
requests, so that collections found nothing and took 4 % of the time (measured)."""


def prepare_process() -> None:
    """Settings of a process that does nothing but serve, made before TensorFlow starts."""
    prepare_products()
    prepare_garbage_collection()
    raise_descriptor_limit()


def prepare_garbage_collection() -> None:
    """Rarer collections, which look at what came after the imports only.

    A version that goes asks for a full collection, in which no request is answered. The modules
    are 340,000 objects that stay for ever: with them it takes .17 s, without .001 s (measured).
    """
    gc.set_threshold(_GC_THRESHOLD)
    gc.collect()
    gc.freeze()


def prepare_products() -> None:
    """One thread for a product, of TensorFlow and of numpy, unless the environment says otherwise.

    Processes that this one starts do so, too, as far as TensorFlow is concerned.
    """
    for name in _TENSORFLOW_THREADS:
        os.environ.setdefault(name, "1")
    if not any(os.environ.get(name) for name in _BLAS_THREADS):
        # Not by a variable: numpy, imported long ago, has read them.
        threadpoolctl.threadpool_limits(1, user_api="blas")
