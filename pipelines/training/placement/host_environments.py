"""The environment of each of the processes that `host_processes` starts."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence

from pipelines.processes import gpus
from pipelines.training.placement import cluster as clusters
from pipelines.training.placement import exchange
from recall.replicas import NCCL_ADDRESS

_HOST = "127.0.0.1"

_SHARED_PORTS = "TF_GRPC_REUSE_PORT"
"""Lets TensorFlow listen at a port that this process keeps from all others."""


def build(visible: Sequence[str], addresses: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Variables of each process: the addresses of all, its own GPU, where NCCL meets.

    Args:
        visible: What `CUDA_VISIBLE_DEVICES` is for each.
        addresses: `host:port` of each; None takes ports that are free now.
    """
    with free_addresses(1 + len(visible)) as free:
        nccl, *others = free
    every = [
        {
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            clusters.VARIABLE: json.dumps(
                {
                    "cluster": {clusters.WORKER: addresses or others},
                    "task": {"type": clusters.WORKER, "index": number},
                    clusters.STARTED_BY: "recall",
                }
            ),
            gpus.VARIABLE: gpu,
            NCCL_ADDRESS: nccl,
            _SHARED_PORTS: "true",
        }
        for number, gpu in enumerate(visible)
    ]
    for variables in every:  # From their start on, before anything can have read them.
        exchange.prepare(clusters.read(variables), 1, variables)
    return every


@contextlib.contextmanager
def free_addresses(number: int) -> Iterator[list[str]]:
    """With ports of this host that nobody listens at, and inside the block only who may share."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((_HOST, 0))
        yield [f"{_HOST}:{one.getsockname()[1]}" for one in sockets]
