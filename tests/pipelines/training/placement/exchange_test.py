"""The environment of processes whose compiled programs exchange."""

import subprocess
import sys

import pytest

from pipelines.training.placement import exchange
from pipelines.training.placement.cluster import Cluster

HERE = Cluster({"worker": ("10.0.0.1:8511", "10.0.0.1:8512")}, "worker", 1)
HOSTS = Cluster({"worker": ("10.0.0.1:8511", "10.0.0.2:8511")}, "worker", 0)
SERVERS = Cluster({"chief": ("a:1",), "worker": ("a:2",), "ps": ("a:3",)}, "worker", 0)

NO_GRAPHS = "--xla_gpu_enable_command_buffer="


@pytest.mark.parametrize(
    ("addresses", "wanted"),
    [
        ({"worker": ("h:10", "h:11", "h:13")}, "h:12"),
        ({"worker": ("h:10", "h:7")}, "h:11"),
        ({"worker": ("h:9", "h:8"), "chief": ("h:7",)}, "h:10"),
        ({"worker": ("h:65535", "h:65534")}, "h:65533"),
        ({"worker": ("[::1]:10", "[::1]:11")}, "[::1]:12"),
        ({"worker": ("h:10", "g:11")}, None),
        ({"worker": ("h", "h")}, None),
    ],
)
def test_all_processes_choose_the_same_port_that_none_has(addresses, wanted):
    found = {
        exchange.choose_address(Cluster(addresses, task, index))
        for task, each in addresses.items()
        for index in range(len(each))
    }

    assert found == {wanted}


def test_a_process_with_one_gpu_is_prepared():
    environment = {"XLA_FLAGS": f"--xla_dump_to=x {NO_GRAPHS}+WHILE"}

    exchange.prepare(HERE, 1, environment)

    assert environment["NCCL_COMM_ID"] == "10.0.0.1:8513"
    flags = environment["XLA_FLAGS"].split()
    assert flags[:2] == ["--xla_dump_to=x", f"{NO_GRAPHS}+WHILE"]
    # XLA takes the last of several.
    assert [flag for flag in flags if flag.startswith(NO_GRAPHS)][-1] == NO_GRAPHS
    # NCCL's n-th pause has n tenths of a second: an hour in all.
    retries = int(environment["NCCL_SOCKET_RETRY_CNT"])
    assert 3600 <= sum(number / 10 for number in range(1, retries + 1)) < 3660
    before = dict(environment)
    exchange.prepare(HERE, 1, environment)
    assert environment == before


@pytest.mark.parametrize(
    ("cluster", "num_gpus"), [(None, 1), (HERE, 0), (HERE, 2), (SERVERS, 1), (HOSTS, 1)]
)
def test_all_others_stay_as_they_are(cluster, num_gpus):
    environment = {"XLA_FLAGS": "--xla_dump_to=x"}

    exchange.prepare(cluster, num_gpus, environment)

    assert environment == {"XLA_FLAGS": "--xla_dump_to=x"}


def test_what_the_user_says_of_nccl_stays():
    environment = {"NCCL_SOCKET_RETRY_CNT": "5"}

    exchange.prepare(HERE, 1, environment)

    assert environment["NCCL_SOCKET_RETRY_CNT"] == "5"


def test_on_several_hosts_the_user_says_where_they_meet():
    environment = {"NCCL_COMM_ID": "10.1.0.1:99"}

    exchange.prepare(HOSTS, 1, environment)

    assert environment["NCCL_COMM_ID"] == "10.1.0.1:99"
    assert NO_GRAPHS in environment["XLA_FLAGS"].split()


@pytest.mark.slow
def test_xla_knows_the_flags():
    """It ends the process at one that it does not know."""
    environment = {}
    exchange.prepare(HERE, 1, environment)
    program = "import tensorflow as tf; print(tf.function(lambda x: 2 * x, jit_compile=True)(1.0))"

    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout.startswith("tf.Tensor(2.0"), result.stderr[-2000:]
