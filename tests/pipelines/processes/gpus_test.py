"""GPUs that one process each can be given."""

import pytest

from pipelines.processes import gpus


@pytest.fixture
def devices(tmp_path):
    """A container that was given two of a host's GPUs."""
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    return tmp_path


def test_they_are_counted_by_their_devices_as_cuda_counts_them(monkeypatch, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert gpus.find(devices) == ["0", "1"]


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("3, 5", ["3", "5"]),
        (" 1 ,0 ", ["1", "0"]),
        ("GPU-8f,GPU-9e", ["GPU-8f", "GPU-9e"]),
        ("MIG-GPU-8f/1/0", ["MIG-GPU-8f/1/0"]),
        ("", []),
        ("-1", []),
        ("1,-1,2", ["1"]),
        ("0,,1", ["0"]),
        ("all", []),
        ("NoDevFiles", []),
    ],
)
def test_those_that_are_visible_count(monkeypatch, tmp_path, visible, found):
    """Also where no device says how many there are."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert gpus.find(tmp_path) == found


@pytest.mark.parametrize(
    ("visible", "found"), [("1,0", ["1", "0"]), ("0,2,1", ["0"]), ("7", []), ("GPU-8f", ["GPU-8f"])]
)
def test_numbers_that_no_device_has_end_the_list(monkeypatch, devices, visible, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert gpus.find(devices) == found
