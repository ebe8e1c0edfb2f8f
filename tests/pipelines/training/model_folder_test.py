"""The folder of a model before its training, and while another one writes it."""

import pytest

from pipelines.artifacts import records
from pipelines.training import model_folder
from recall.errors import InputError

SETTINGS = {"train": {"max_epochs": 3}}


def hold(folder, settings=SETTINGS, *, is_chief=True):
    record = records.build_record("train", settings, {"examples": "7"})
    return model_folder.held(folder, record, overwrite=False, is_chief=is_chief)


def test_one_training_at_a_time_writes_a_folder(tmp_path):
    folder = tmp_path / "model"
    with hold(folder):
        (folder / "checkpoints").mkdir()
        with (
            pytest.raises(InputError, match=r"Another training is writing .*model\. Wait"),
            hold(folder),
        ):
            pass
        with hold(folder, is_chief=False):
            assert (folder / "checkpoints").is_dir()

    with hold(folder):  # It goes on.
        assert (folder / "checkpoints").is_dir()


def test_what_the_chief_is_writing_is_no_stranger_s_for_the_others(tmp_path):
    """They may look between its files."""
    (tmp_path / "config.json").touch()

    with hold(tmp_path, is_chief=False):
        pass
    with pytest.raises(InputError, match=r"not empty \(config\.json\)"), hold(tmp_path):
        pass


def test_settings_of_how_a_job_runs_leave_what_is_there(tmp_path):
    """Two GPUs are left of four: the training goes on where it was."""
    before = {"train": {"max_epochs": 3, "strategy": "processes", "checkpoint_minutes": 30}}
    with hold(tmp_path, before):
        (tmp_path / "checkpoints").mkdir()
    now = {"train": {"max_epochs": 3, "strategy": "auto", "checkpoint_minutes": 5}}

    with hold(tmp_path, now):
        assert (tmp_path / "checkpoints").is_dir()
    with hold(tmp_path, {"train": now["train"] | {"stall_minutes": None}}):  # A later version's.
        assert (tmp_path / "checkpoints").is_dir()


def test_a_checkpoint_that_was_broken_off_goes_and_the_others_stay(tmp_path):
    written = ["checkpoints/ckpt-2.index", "checkpoints/ckpt-2.data-00000-of-00001"]
    half = "checkpoints/ckpt-3_temp/part-00000-of-00001.data-00000-of-00001.tempstate7"
    with hold(tmp_path):
        for name in [*written, half, "best/ckpt-1_temp/part-00000-of-00001.index"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    with hold(tmp_path, is_chief=False):  # Others may not: the chief may be writing it.
        assert (tmp_path / half).exists()
    with hold(tmp_path):
        found = list(tmp_path.glob("*/*"))
    assert sorted(map(str, found)) == sorted(str(tmp_path / name) for name in written)


def test_what_other_settings_have_left_goes_and_it_is_held_still(tmp_path):
    with hold(tmp_path):
        (tmp_path / "checkpoints").mkdir()
    other = {"train": {"max_epochs": 5}}

    with hold(tmp_path, other):
        assert not (tmp_path / "checkpoints").exists()
        with pytest.raises(InputError, match="Another training"), hold(tmp_path, other):
            pass


def test_a_folder_that_others_hold_and_have_written_nothing_in_is_no_stranger_s(tmp_path):
    (tmp_path / records.LOCK_NAME).touch()

    records.check_output(tmp_path, "train")
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"not empty \(thesis\.txt\)"):
        records.check_output(tmp_path, "train")
