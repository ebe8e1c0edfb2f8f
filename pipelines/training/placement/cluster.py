"""The machines of a job, as `TF_CONFIG` describes them. No TensorFlow."""

import json
import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

from recall.config import RecallConfig
from recall.errors import InputError

VARIABLE = "TF_CONFIG"

_PORTS = 2**16

CHIEF, WORKER, SERVER = "chief", "worker", "ps"

STARTED_BY = "started_by"
"""A key of `TF_CONFIG` of our own, which TensorFlow does not read."""

LOST_PEER = "Another process of the job has ended or cannot be reached."
"""What a process says that has failed for no other reason."""

_NO_PROXY, _PROXIES_LEFT_OUT = "no_grpc_proxy", "no_proxy"
"""What gRPC reads of hosts that it connects to without a proxy: the first, else the second."""

_EXAMPLE = (
    """'{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, """
    """"task": {"type": "worker", "index": 0}}'"""
)


class Cluster(NamedTuple):
    """The processes of a job, and which of them this one is.

    Attributes:
        addresses: Kind of task -> `host:port` of each.
        task: Kind of this process.
        index: Its number among those of its kind.
        is_of_one_host: Whether one process of this host has started all of them, see
            `host_processes`.
    """

    addresses: Mapping[str, tuple[str, ...]]
    task: str
    index: int
    is_of_one_host: bool = False

    @property
    def num_workers(self) -> int:
        """Processes that take steps."""
        return len(self.addresses.get(CHIEF, ())) + len(self.addresses.get(WORKER, ()))

    @property
    def has_servers(self) -> bool:
        """Whether processes of their own hold the weights."""
        return bool(self.addresses.get(SERVER))

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what the job leaves."""
        return self.task == CHIEF or (
            CHIEF not in self.addresses and self.task == WORKER and self.index == 0
        )

    @property
    def chief_address(self) -> str:
        """`host:port` of the process that `is_chief`."""
        return (self.addresses.get(CHIEF) or self.addresses[WORKER])[0]

    @property
    def all_addresses(self) -> list[str]:
        """Those of all kinds."""
        return [address for each in self.addresses.values() for address in each]

    @property
    def address(self) -> str:
        """`host:port` of this process."""
        return self.addresses[self.task][self.index]

    @property
    def number(self) -> int:
        """Of this process among those that take steps; the chief is 0."""
        return self.index + (1 if self.task == WORKER and CHIEF in self.addresses else 0)


def read(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster that `TF_CONFIG` describes; None where there is none, or one process alone.

    >>> read({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}'})

    Raises:
        InputError: `TF_CONFIG` is no JSON, or lacks something.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
        cluster = {
            str(task): tuple(_addresses(task, hosts))
            for task, hosts in (value.get("cluster") or {}).items()
        }
        addresses = [address for each in cluster.values() for address in each]
        if len(addresses) <= 1:
            return None
        if len(set(addresses)) < len(addresses):
            raise ValueError("two processes have the same address")
        task, index = str(value["task"]["type"]), int(value["task"].get("index", 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{VARIABLE} is not of the form {_EXAMPLE}: {type(error).__name__}: {error}."
        ) from error
    if not 0 <= index < len(cluster.get(task, ())):
        raise InputError(
            f"{VARIABLE} says that this process is {task} {index}, but its cluster has "
            f"{len(cluster.get(task, ()))} of them."
        )
    unknown = set(cluster) - {CHIEF, WORKER, SERVER}
    if unknown:
        raise InputError(
            f"{VARIABLE} has tasks of the kind {', '.join(sorted(unknown))}; "
            f"known are {CHIEF}, {WORKER} and {SERVER}."
        )
    return Cluster(cluster, task, index, bool(value.get(STARTED_BY)))


def reach_directly(
    cluster: Cluster | None, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Lets the processes of a job find each other where a proxy is set (`http_proxy`).

    gRPC would ask it for every address, also one of this host: all would wait for ever.

    Args:
        cluster: The processes of the job.
        environment: Is changed; TensorFlow has not started.
    """
    if cluster is None:
        return
    hosts = {address.rpartition(":")[0].strip("[]"): None for address in cluster.all_addresses}
    known = environment.get(_NO_PROXY) or environment.get(_PROXIES_LEFT_OUT) or ""
    kept = [host for host in map(str.strip, known.split(",")) if host]
    environment[_NO_PROXY] = ",".join([*kept, *(host for host in hosts if host not in kept)])


def refuse(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """For commands of one process, which several would write the same folder by.

    Raises:
        InputError: `TF_CONFIG` describes several processes.
    """
    cluster = read(environment)
    if cluster is not None:
        number = sum(map(len, cluster.addresses.values()))
        raise InputError(
            f"`{command}` is one process, but {VARIABLE} describes {number}. Train with "
            f"`recall train` on all of them, then run `{command}` on one, without {VARIABLE}."
        )


def require_port(cluster: Cluster) -> None:
    """Refuses to start where somebody listens at the port of this process already.

    Raises:
        InputError: Somebody does.
    """
    port = int(cluster.address.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"This process, {cluster.task} {cluster.index} of {VARIABLE}, cannot listen at port "
            f"{port} of this host: {os.strerror(error.errno)}. End what listens there, perhaps a "
            "process of an earlier training, or name another port."
        ) from error


def check_servers(config: RecallConfig, cluster: Cluster) -> None:
    """What parameter servers need, and what does not go with them.

    Raises:
        InputError: Something is missing or impossible.
    """
    if len(cluster.addresses.get(CHIEF, ())) != 1 or WORKER not in (cluster.addresses):
        raise InputError(
            f"Parameter servers need one chief and at least one worker in {VARIABLE}; it "
            f"names {', '.join(f'{len(a)} {task}' for task, a in cluster.addresses.items())}."
        )
    for name in ("jit_compile", "deterministic"):
        if getattr(config.train, name):
            reason = {
                "jit_compile": "the weights of a compiled step are on its own device",
                "deterministic": "workers take steps as they come",
            }[name]
            raise InputError(
                f"train.{name}=true does not go with parameter servers: {reason}. "
                f"Leave train.{name} out."
            )


def is_reachable(address: str) -> bool:
    """Whether somebody listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except OSError:
        return False


def _addresses(task: str, hosts: object) -> list[str]:
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ValueError(f"the addresses of {task} are no list of texts")
    for host in hosts:
        name, _, port = host.rpartition(":")
        if not (name and port.isdecimal() and 0 < int(port) < _PORTS):
            raise ValueError(f"{host!r} is no host:port")
    return hosts
