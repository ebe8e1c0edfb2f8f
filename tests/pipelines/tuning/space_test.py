"""What may be searched, as people write it."""

import pytest

from pipelines.tuning import space
from pipelines.tuning.space import Dimension, parse_space
from recall.config import RecallConfig
from recall.errors import InputError

CONFIG = RecallConfig()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.dim=64|128", Dimension("model.dim", (64, 128))),
        ("model.dropout_rate=null|0.2", Dimension("model.dropout_rate", (None, 0.2))),
        ("loss.negatives=uniform|queue", Dimension("loss.negatives", ("uniform", "queue"))),
        ("model.use_categories=true|false", Dimension("model.use_categories", (True, False))),
        ("loss.temperature=0.05..0.2", Dimension("loss.temperature", (), 0.05, 0.2)),
        (
            "train.learning_rate=log:1e-4..0.01",
            Dimension("train.learning_rate", (), 1e-4, 0.01, True),
        ),
        ("model.num_interests=1..8", Dimension("model.num_interests", (), 1, 8, False, True)),
    ],
)
def test_forms(text, expected):
    assert parse_space([text], CONFIG) == [expected]


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (["model.dim"], "is no space"),
        (["dim=1|2"], "is no space"),
        (["model.dim=8..4"], "is no space"),
        (["model.dim=a b..4"], "is no space"),
        (["train.learning_rate=log:0..1"], "begins above 0"),
        (["model.dmi=1|2"], "dmi"),
        (["model.dim=64|many"], "dim"),
        (["model.dropout_rate=0.1..1.5"], "dropout_rate"),
        (["model.dim=1|2", "model.dim=3|4"], "names model.dim twice"),
        (["ingest.min_user_events=3|5"], "all trials read the same examples"),
        (["model.max_history_length=20|50"], "all trials read the same examples"),
    ],
)
def test_mistakes(texts, error):
    with pytest.raises(InputError, match=error):
        parse_space(texts, CONFIG)


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        ("model.clusters=items", (2, 4, 8)),
        ("model.min_interest_weight=0.25", (2, 4)),
        ("loss.seq2seq_weight=0.5", (1, 2, 4, 8)),
        ("model.extractor=last_state", (1, 2, 4, 8)),
    ],
)
def test_the_default_space_has_no_value_that_the_settings_rule_out(setting, left):
    found = {d.name: d for d in space.default_space(CONFIG.override([setting]))}

    assert found["model.num_interests"].choices == left
    assert set(found) == {text.partition("=")[0] for text in space.DEFAULT_SPACE}


def test_a_setting_with_one_value_left_is_not_searched():
    config = CONFIG.override(["model.min_interest_weight=0.5", "model.num_interests=2"])

    names = [dimension.name for dimension in space.default_space(config)]
    assert "model.num_interests" not in names
    assert len(names) == len(space.DEFAULT_SPACE) - 1


def test_the_defaults_are_in_the_default_space():
    assert space.default_space(CONFIG) == parse_space(space.DEFAULT_SPACE, CONFIG)
    for dimension in space.default_space(CONFIG):
        assert dimension.holds(space.default_of(dimension, CONFIG)), dimension.name


def test_what_a_dimension_holds():
    (whole,) = parse_space(["model.num_interests=2..4"], CONFIG)
    assert [whole.holds(value) for value in (1, 2, 4, 5, True, None, "3")] == [
        *(False, True, True, False, False, False, False)
    ]
