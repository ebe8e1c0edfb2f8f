"""Settings in every form a caller may have them."""

import pytest

from pipelines.api import settings
from recall.config import RecallConfig
from recall.errors import InputError

EXPECTED = RecallConfig().override(["train.max_epochs=5", "model.dim=16"])


@pytest.mark.parametrize(
    "config",
    [
        EXPECTED,
        {"train": {"max_epochs": 5}, "model": {"dim": 16}},
        {"train.max_epochs": 5, "model.dim": 16},
        {"train.max_epochs": 5, "model": {"dim": 16}},
        ["train.max_epochs=5", "model.dim=16"],
    ],
    ids=["config", "nested", "dotted", "both", "assignments"],
)
def test_forms(config):
    assert settings.read(config) == EXPECTED


def test_a_file_and_nothing(tmp_path):
    (tmp_path / "c.json").write_text(EXPECTED.to_json())
    assert settings.read(tmp_path / "c.json") == settings.read(str(tmp_path / "c.json")) == EXPECTED
    assert settings.read(None) == RecallConfig()


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"trian": {}}, "trian"),
        ({"train.max_epochs": "many"}, "max_epochs"),
        (["train.max_epochs"], "max_epochs"),
        ("a.b=1", r"Give a list of settings: config=\['a.b=1'\]"),
        ("missing.json", "Cannot read the settings missing.json"),
    ],
)
def test_mistakes(config, text):
    with pytest.raises(InputError, match=text):
        settings.read(config)
