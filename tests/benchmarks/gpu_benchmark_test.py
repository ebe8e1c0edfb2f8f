"""The benchmark of one GPU: what it compares, and cases that fail."""

import subprocess

import pytest

from tests.benchmarks import gpu, measure, replicas

TINY = [
    "model.extractor=last_state",
    "model.dim=8",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "loss.num_negatives=8",
    "train.batch_slots=256",
]


@pytest.fixture(autouse=True)
def _flags():
    """As of a command line without any."""
    gpu.flags.FLAGS.unparse_flags()
    gpu.flags.FLAGS(["gpu"])


def test_ratios_by_hand():
    def case(name, slots, ms=1.0):
        return {"name": name, "target_slots_per_second": slots, "ms_per_step": ms}

    cases = [
        case("readme_step", 800.0),
        case("epochs", 600.0),
        case("default_step", 500.0),
        case("cores", 5.0),
        case("cores_2_threads_an_operation", 10.0),
        case("small_catalogue_wide", 1.0, ms=2.0),
        {"name": "large_catalogue_wide", "failed": "no memory"},
    ]

    assert gpu.ratios(cases) == {
        "epochs_against_the_step_alone": 0.75,
        "gpu_against_the_best_of_the_cores": 50.0,
    }
    cases[-1] = case("large_catalogue_wide", 1.0, ms=2.2)
    assert gpu.ratios(cases)["step_of_10_million_items_against_10_thousand"] == 1.1
    several = [case(f"replicas_{number}", 100.0 * slots) for number, slots in ((1, 2), (4, 7))]
    assert gpu.ratios(several) == {"replicas_4_against_1": 3.5}
    several.append(case("processes_2", 380.0))
    assert gpu.ratios(several)["processes_2_against_1"] == 1.9


def test_processes_are_as_fast_as_all_together_and_as_slow_as_the_slowest():
    def facts(slots, ms):
        return {
            "target_slots_per_second": slots,
            "target_slots_per_step": 50.0,
            "cpu_ms_per_step": 2.0,
            "ms_per_step": ms,
        }

    assert replicas.join_processes([facts(100.0, 3.0), facts(90.0, 4.0)]) == {
        "target_slots_per_second": 190.0,
        "target_slots_per_step": 100.0,
        "cpu_ms_per_step": 4.0,
        "ms_per_step": 4.0,
    }


def test_several_replicas_are_measured_where_there_are_gpus_for_them():
    def numbers(cases):
        return {name.rsplit("_", 1)[1] for name in cases if name.startswith("replicas")}

    assert numbers(gpu.choose_cases([], num_gpus=1)) == set()
    assert numbers(gpu.choose_cases([], num_gpus=2)) == {"1", "2"}
    assert numbers(gpu.choose_cases([], num_gpus=4)) == {"1", "2", "4"}
    assert "readme_step" in gpu.choose_cases([], num_gpus=4)
    assert gpu.choose_cases(["replicas_2", "cores"], num_gpus=0) == [
        "cores",
        "cores_2_threads_an_operation",
        "cores_4_threads_an_operation",
        "replicas_2",
    ]


def test_a_case_that_fails_or_takes_too_long_does_not_stop_the_others(monkeypatch):
    calls = []

    def run_case(module, case, timeout_s, **variables):
        calls.append((case["num_items"], timeout_s, variables))
        if len(calls) == 1:
            raise RuntimeError("a text of many lines")
        if len(calls) == 2:
            raise subprocess.TimeoutExpired("python", timeout_s)
        return {"ms_per_step": 3.0}

    monkeypatch.setattr(measure, "run_case", run_case)
    monkeypatch.setattr(measure, "show_progress", lambda name: None)

    cases = gpu.run_cases(["readme_step", "large_catalogue_wide", "cores"], seconds=100)

    assert cases[0]["failed"] == "a text of many lines"
    assert cases[1]["failed"].startswith("not done after ")
    assert cases[2]["ms_per_step"] == 3.0
    assert [call[0] for call in calls] == [10_000, 10_000_000, 10_000]
    assert all(0 < timeout_s <= 100 for _, timeout_s, _ in calls)
    assert [call[2] for call in calls] == [{}, {}, {"CUDA_VISIBLE_DEVICES": ""}]


def test_what_time_is_short_for_says_so(monkeypatch):
    monkeypatch.setattr(measure, "run_case", lambda *args, **kwargs: pytest.fail("run"))
    monkeypatch.setattr(measure, "show_progress", lambda name: None)

    (case,) = gpu.run_cases(["epochs"], seconds=0)

    assert case["failed"] == "no time was left"


@pytest.mark.slow
def test_epochs_are_measured_without_the_first():
    case = {"num_items": 200, "num_interests": 1, "seq2seq": "on", "settings": TINY}

    facts = gpu.measure_epochs(case | {"sequences": 300})

    assert facts["seconds_of_an_epoch"] < facts["seconds_of_the_first_epoch"]
    slots = facts["target_slots_per_second"] * facts["seconds_of_an_epoch"]
    assert 3 * 300 < slots < 9 * 300
    assert facts["steps_per_epoch"] >= 1


@pytest.mark.slow
def test_two_parts_of_the_processor_stand_for_gpus():
    case = {
        "name": "replicas_2",
        "replicas": 2,
        "slots": 128,
        "steps": 4,
        "num_items": 200,
        "num_interests": 1,
        "sequences": 100,
        "settings": TINY,
    }
    for kind in ("replicas", "replicas_epochs"):
        facts = measure.run_case("tests.benchmarks.gpu", case | {"kind": kind})

        assert facts["target_slots_per_second"] > 0


@pytest.mark.slow
def test_two_processes_stand_for_two_with_a_gpu_each(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    case = {
        "kind": "processes",
        "replicas": 2,
        "slots": 128,
        "steps": 4,
        "num_items": 200,
        "num_interests": 1,
        "settings": TINY,
    }

    facts = replicas.measure_processes("tests.benchmarks.gpu", case, timeout_s=200)

    # Padded batches of two processes, half of 256 slots each.
    assert 100 < facts["target_slots_per_step"] <= 256
    assert facts["target_slots_per_second"] > 0
