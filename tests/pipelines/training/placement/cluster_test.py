"""The machines of a job, read from `TF_CONFIG`."""

import json
import socket

import pytest

from pipelines.training.placement import cluster
from recall.errors import InputError


def read(addresses, task, index=0):
    value = {"cluster": addresses, "task": {"type": task, "index": index}}
    return cluster.read({"TF_CONFIG": json.dumps(value)})


TWO = {"worker": ["a:1", "b:1"]}
WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}


def test_without_a_chief_the_first_worker_writes():
    assert [read(TWO, "worker", index).is_chief for index in (0, 1)] == [True, False]
    assert [read(TWO, "worker", index).number for index in (0, 1)] == [0, 1]
    assert read(TWO, "worker").num_workers == 2
    assert not read(TWO, "worker").has_servers


def test_a_chief_is_the_first_of_those_that_step():
    assert read(WITH_CHIEF, "chief").is_chief
    assert not read(WITH_CHIEF, "worker").is_chief
    assert not read(WITH_CHIEF, "ps").is_chief
    assert [read(WITH_CHIEF, "worker", index).number for index in (0, 1)] == [1, 2]
    assert read(WITH_CHIEF, "chief").number == 0
    assert read(WITH_CHIEF, "chief").num_workers == 3
    assert read(WITH_CHIEF, "chief").has_servers


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": ["a:1"]}}'])
def test_one_process_is_no_cluster(text):
    assert cluster.read({"TF_CONFIG": text}) is None


@pytest.mark.parametrize(
    "text",
    [
        "worker",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": "a:1"}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "x"}}',
        '{"cluster": {"worker": ["a", "b:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:x"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", ":1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:65536"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_what_is_no_description_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"TF_CONFIG is not of the form .*worker.*task"):
        cluster.read({"TF_CONFIG": text})


@pytest.mark.parametrize(
    ("task", "index", "message"),
    [
        ("worker", 2, "worker 2, but its cluster has 2 of them"),
        ("worker", -1, "worker -1, but"),
        ("ps", 0, "ps 0, but its cluster has 0"),
    ],
)
def test_a_task_that_the_cluster_lacks_is_refused(task, index, message):
    with pytest.raises(InputError, match=message):
        read(TWO, task, index)


def test_an_address_of_version_6():
    assert read({"worker": ["[::1]:1", "[::1]:2"]}, "worker", 1).address == "[::1]:2"


def test_a_port_that_somebody_has_is_one_line():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        job = cluster.Cluster({"worker": ("a:1", f"b:{port}")}, "worker", 1)
        with pytest.raises(InputError) as error:
            cluster.require_port(job)
    assert str(error.value) == (
        f"This process, worker 1 of TF_CONFIG, cannot listen at port {port} of this host: Address "
        "already in use. End what listens there, perhaps a process of an earlier training, or name "
        "another port."
    )
    cluster.require_port(job)  # It is free again.


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="kind evaluator; known are chief, worker and ps"):
        read(TWO | {"evaluator": ["e:1"]}, "evaluator")


def test_a_command_of_one_process_refuses_several():
    variables = {"TF_CONFIG": json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 1}})}
    with pytest.raises(InputError, match="`recall run` is one process, but TF_CONFIG describes 2"):
        cluster.refuse("recall run", variables)
    cluster.refuse("recall run", {})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "a,b,c,d"),
        ({"no_proxy": "x, .y"}, "x,.y,a,b,c,d"),
        ({"no_grpc_proxy": "b", "no_proxy": "x"}, "b,a,c,d"),
    ],
)
def test_no_proxy_stands_between_the_processes(before, after):
    environment = dict(before)

    cluster.reach_directly(read(WITH_CHIEF, "chief"), environment)

    assert environment.pop("no_grpc_proxy") == after
    assert environment == {name: before[name] for name in before if name != "no_grpc_proxy"}


def test_a_process_alone_needs_no_way_to_others():
    environment = {}

    cluster.reach_directly(None, environment)
    assert environment == {}
    cluster.reach_directly(read({"worker": ["[::1]:1", "[::1]:2"]}, "worker"), environment)
    assert environment == {"no_grpc_proxy": "::1"}
