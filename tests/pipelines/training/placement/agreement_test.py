"""Processes of a job that were started differently: what is compared, and what is told."""

import pytest

from pipelines.training import trainer
from pipelines.training.placement import agreement, strategies
from pipelines.training.placement.cluster import Cluster
from recall.config import RecallConfig
from recall.errors import InputError
from tests.pipelines.training.placement import training_processes as jobs

WORKERS = Cluster({"worker": ("a:1", "b:1")}, "worker", 1)


class WithChief:
    """The placement of a process whose chief has other values of some names."""

    name = "multi_worker"

    def __init__(self, differing=(), cluster=WORKERS):
        self.cluster, self.asked, self._differing = cluster, [], differing

    def from_chief(self, values):
        self.asked.append(list(values))
        return {name: value + (name in self._differing) for name, value in values.items()}

    def sum_of_all(self, values):
        return values


def open_with(monkeypatch, placement, *settings, inputs=(("examples", "7"),)):
    monkeypatch.setattr(strategies, "open_placement", lambda _: placement)
    config = RecallConfig().override(settings)
    record = {
        "job": "train",
        "settings": trainer.train_settings(config),
        "inputs": dict(inputs),
        "versions": {"recall": "1", "tensorflow": "2"},
    }
    return agreement.open_placement(config, record)


def test_processes_that_were_started_alike(monkeypatch):
    placement = WithChief()

    assert open_with(monkeypatch, placement) is placement
    versions, names = placement.asked
    assert versions == ["the versions of recall and its packages"]
    assert {"model.dim", "loss.event_weights", "train.seed", "the examples"} < set(names)
    # Those of how each of them runs may differ.
    assert not {"train.strategy", "train.stall_minutes", "train.checkpoint_minutes"} & set(names)


def test_the_names_are_those_of_any_settings(monkeypatch):
    """An exchange needs as many numbers from everybody."""
    found = []
    for settings in ((), ('loss.event_weights={"buy": 2, "view": 0.1}', "model.dim=8")):
        placement = WithChief()
        open_with(monkeypatch, placement, *settings)
        found.append(placement.asked)
    warm = WithChief()
    open_with(monkeypatch, warm, inputs=(("examples", "7"), ("warm_start", "8")))
    assert found[0] == found[1] == warm.asked


@pytest.mark.parametrize(
    ("differing", "told"),
    [
        (["train.batch_slots", "model.dim"], "model.dim, train.batch_slots"),
        (["the examples"], "the examples"),
        (["the versions of recall and its packages"], "the versions of recall and its packages"),
    ],
)
def test_what_differs_is_one_line(monkeypatch, differing, told):
    with pytest.raises(InputError) as error:
        open_with(monkeypatch, WithChief(differing))

    assert str(error.value) == (
        f"The processes of the job differ in {told}. Give all of them the same command, and "
        "folders on a file system that they share."
    )


def test_states_that_differ():
    agreement.require_state(WithChief(), (3, 45))
    with pytest.raises(InputError, match="differ in the state of the training in --output"):
        agreement.require_state(WithChief(["the state of the training in --output"]), (3, 45))


@pytest.mark.parametrize("name", ["none", "mirrored", "parameter_server", "processes"])
def test_one_process_and_those_with_one_command_are_not_asked(name):
    placement = WithChief(cluster=WORKERS._replace(is_of_one_host=True))
    if name != "processes":
        placement.name, placement.cluster = name, None

    agreement.require_state(placement, (0, 0))
    assert placement.asked == []


def run_two(folder, name, first, second):
    """Two real processes with a command each: their codes and last lines."""
    cluster = {"worker": jobs.free_addresses(2)}
    logs = [folder / f"{name}.{number}.log" for number in range(2)]
    processes = [
        jobs.start(arguments, cluster, ("worker", number), log=logs[number])
        for number, arguments in enumerate((first, second))
    ]
    try:
        codes = [process.wait(jobs.SECONDS) for process in processes]
    finally:
        for process in processes:
            jobs.kill(process)
    return codes, [log.read_text().splitlines()[-1] for log in logs]


@pytest.mark.slow
def test_real_processes_end_together(tmp_path, examples_writer):
    examples, model = tmp_path / "examples", tmp_path / "model"
    examples_writer(examples, jobs.chains(61), jobs.NUM_ITEMS, 7)
    line = (
        "recall train: error: The processes of the job differ in {}. Give all of them the same "
        "command, and folders on a file system that they share."
    )

    found = run_two(
        tmp_path,
        "settings",
        jobs.command(examples, model),
        jobs.command(examples, model, "train.max_epochs=4", "model.dropout_rate=0"),
    )

    assert found == ([1, 1], [line.format("model.dropout_rate, train.max_epochs")] * 2)
    assert not (model / "started.json").exists()

    short = jobs.command(examples, model, "train.max_epochs=4000")
    process = jobs.start(short, log=tmp_path / "begun.log")
    jobs.wait_until((model / "checkpoints" / "checkpoint").exists, [process])
    jobs.kill(process)
    elsewhere = jobs.command(examples, tmp_path / "other", "train.max_epochs=4000")
    found = run_two(tmp_path, "folders", short, elsewhere)

    assert found == ([1, 1], [line.format("the state of the training in --output")] * 2)
