"""GPUs that one process each can be given."""

import pytest

from pipelines.processes import gpus


def test_they_are_counted_by_their_devices(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia10", "nvidia2", "nvidiactl", "null"):
        (tmp_path / name).touch()

    assert gpus.find(tmp_path) == ["2", "10"]


@pytest.mark.parametrize(
    ("visible", "found"),
    [("3, 5", ["3", "5"]), ("GPU-8f", ["GPU-8f"]), ("", []), ("-1", []), ("1,-1,2", ["1"])],
)
def test_those_that_are_visible_count(monkeypatch, visible, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert gpus.find() == found
