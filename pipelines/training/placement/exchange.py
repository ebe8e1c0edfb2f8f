"""What compiled programs that exchange themselves need of the environment.

They are those of processes with one GPU each, see `recall.models.replicated_step`.
"""

import itertools
import math
import os
from collections.abc import MutableMapping

from pipelines.training.placement.cluster import Cluster
from recall.replicas import NCCL_ADDRESS, NO_CUDA_GRAPHS

_PATIENCE_S = 600
"""How long XLA waits for a process that compiles longer than the others, which it else ends."""

_NCCL_RETRIES, _NCCL_PATIENCE_S, _NCCL_PAUSE_S = "NCCL_SOCKET_RETRY_CNT", 3600, 0.1
"""Of a process that finds nobody at `NCCL_ADDRESS`, as the chief comes there last: where a
training goes on from an earlier model it evaluates that first. NCCL 2.28 gives up after
34 retries, the n-th of them n pauses after the one before, a minute in all, and
the process would end."""

_XLA_FLAGS = (
    NO_CUDA_GRAPHS,
    f"--xla_gpu_executable_terminate_timeout={_PATIENCE_S}",
    f"--xla_gpu_first_collective_call_terminate_timeout_seconds={_PATIENCE_S}",
    # As it was measured: XLA unrolls loops that exchange, by itself.
    "--xla_gpu_enable_while_loop_unrolling=WHILE_LOOP_UNROLLING_NO_UNROLL",
)


def prepare(
    cluster: Cluster | None, num_gpus: int, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Makes the environment of a process such that its programs may exchange; else leaves it.

    Nothing changes but for workers that step together, of one GPU each, on one host. On several
    hosts the user says where NCCL meets, in `NCCL_COMM_ID`: it wants an address of the chief
    that is in a network of every host, and `TF_CONFIG` may have others.

    Args:
        cluster: The processes of the job.
        num_gpus: That this one sees.
        environment: Is changed; TensorFlow has not started.
    """
    if cluster is None or cluster.has_servers or num_gpus != 1:
        return
    if NCCL_ADDRESS not in environment:
        address = choose_address(cluster)
        if address is None:
            return
        environment[NCCL_ADDRESS] = address
    retries = math.ceil(math.sqrt(2 * _NCCL_PATIENCE_S / _NCCL_PAUSE_S))
    environment.setdefault(_NCCL_RETRIES, str(retries))
    flags = environment.get("XLA_FLAGS", "").split()
    # The last of several counts, and CUDA graphs would end the process.
    kept = [flag for flag in flags if flag not in _XLA_FLAGS]
    environment["XLA_FLAGS"] = " ".join([*kept, *_XLA_FLAGS])


def choose_address(cluster: Cluster) -> str | None:
    """Where the processes of one host meet: the chief's host, and the next port that none has.

    Every process comes to the same address.

    >>> choose_address(Cluster({"worker": ("10.0.0.1:2222", "10.0.0.1:2223")}, "worker", 1))
    '10.0.0.1:2224'

    Returns:
        `host:port`; None where the processes are on several hosts.
    """
    addresses = [address.rpartition(":") for address in cluster.all_addresses]
    hosts, ports = {host for host, _, _ in addresses}, {port for _, _, port in addresses}
    host, _, port = cluster.chief_address.rpartition(":")
    if len(hosts) > 1 or not port.isdigit():
        return None
    numbers = itertools.chain(range(int(port) + 1, 2**16), range(int(port) - 1, 0, -1))
    return f"{host}:{next(number for number in numbers if str(number) not in ports)}"
