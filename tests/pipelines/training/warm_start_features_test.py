"""Features in a training that goes on from an earlier one: rows follow the values they are of."""

import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.trained_model import build_model, load_model
from pipelines.training import job_state, warm_start
from pipelines.training.epochs.weight_averaging import WeightAverage
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import ItemVocabulary

TITLE = FeatureColumn("words", "item", "text", max_values=2, hash_buckets=5)
COUNTRY = FeatureColumn("country", "user", "categorical")
DEVICE = FeatureColumn("device", "event", "categorical")
PLACE = FeatureColumn("place", "request", "categorical")
CONFIG = RecallConfig.from_dict(
    {
        "model": {
            "extractor": "last_state",
            "dim": 8,
            "num_blocks": 1,
            "feed_forward_dim": 8,
            "max_history_length": 7,
            "use_categories": True,
        },
        "loss": {"num_negatives": 16, "seq2seq_weight": 0.0},
        "features": {
            "embedding_dim": 4,
            "hidden_dim": 6,
            "columns": [column.to_dict() for column in (TITLE, COUNTRY, DEVICE, PLACE)],
        },
    }
)


def vocabulary_of(categories, countries, devices, places):
    """An item for each category, in their order, and a user for each country."""
    columns = CONFIG.features.of("item")
    of_items = pa.table(
        {
            "categories": pa.array([[name] for name in categories], pa.list_(pa.string())),
            "words": [f"a {name}" for name in categories],
        }
    )
    user_names = pa.array([[name] for name in countries], pa.list_(pa.string()))
    return ItemVocabulary(
        [f"item of {name} {row}" for row, name in enumerate(categories)],
        [1] * len(categories),
        [[name] for name in categories],
        features=ItemFeatures.fit(columns, of_items, [1] * len(categories)),
        users=ItemFeatures(
            [FittedColumn(COUNTRY, values=tuple(dict.fromkeys(countries)))],
            pa.table({"country": user_names}),
        ),
        log_columns=[FittedColumn(DEVICE, devices), FittedColumn(PLACE, places)],
    )


BEFORE = vocabulary_of(["red"] * 3 + ["blue"] * 2, ["NL", "BE", "NL"], ("tv", "web"), ("in", "out"))
# Other orders. "pink", "FR", "app" and "away" are new; "red", "BE", "web" and "in" are gone.
NOW = vocabulary_of(["pink"] * 3 + ["blue"] * 2, ["FR", "NL"], ("app", "tv"), ("out", "away"))


def job(vocabulary):
    """A model about to be trained, its averages, and the state of the job."""
    model = build_model(CONFIG, vocabulary)
    average = WeightAverage(model.trainable_variables, 0.1)
    parts = {
        "weight": model.variables,
        "optimizer": model.optimizer.variables,
        "average": average.averages,
    }
    return model, average, job_state.JobState(parts)


@pytest.fixture(scope="module", name="yesterday")
def _yesterday(tmp_path_factory):
    """What a training with features leaves, with numbers that can be told apart."""
    folder = tmp_path_factory.mktemp("yesterday")
    model, _, state = job(BEFORE)
    rng = np.random.default_rng(4)
    for variable in state.variables.values():
        if variable.dtype.is_floating:
            variable.assign(rng.normal(size=variable.shape))
    checkpoint = tf.train.CheckpointManager(state.checkpoint, str(folder / "checkpoints"), 1)
    checkpoint.save()
    records.write_vocabulary(folder, BEFORE.without_examples())
    (folder / records.CONFIG_NAME).write_text(CONFIG.to_json())
    records.write_record(folder, records.build_record("train", {}, {}))
    return folder, model


@pytest.fixture(scope="module", name="today")
def _today(yesterday):
    model, average, state = job(NOW)
    warm_start.WarmStart(yesterday[0], NOW).apply(model, average, state)
    return model, average


OWNERS = {
    "item": lambda model: model.item_tower.network,
    "user": lambda model: model.user_tower.user_features.network,
    "event": lambda model: model.user_tower.event_features.network,
    "request": lambda model: model.user_tower.request_features.network,
}
SOURCES = {
    # Yesterday: none, others, red, blue. Today: none, others, pink, blue.
    "item": [0, 1, None, 3],
    # None, others, NL, BE. None, others, FR, NL.
    "user": [0, 1, None, 2],
    # None, others, tv, web. None, others, app, tv.
    "event": [0, 1, None, 2],
    # None, others, in, out. None, others, out, away.
    "request": [0, 1, 3, None],
}


@pytest.mark.parametrize("owner", OWNERS)
def test_rows_of_values_follow_their_names(yesterday, today, owner):
    before = OWNERS[owner](yesterday[1]).table.numpy()
    now = OWNERS[owner](today[0]).table.numpy()
    carried = [row for row in SOURCES[owner] if row]
    for row, source in enumerate(SOURCES[owner]):
        # A new value begins with the mean of those that stay, and of those that are of no name.
        wanted = before[carried].mean(axis=0) if source is None else before[source]
        np.testing.assert_allclose(now[row], wanted, rtol=1e-5, err_msg=f"{owner} {row}")


@pytest.mark.parametrize("owner", OWNERS)
def test_moments_of_new_values_are_zero_and_averages_follow(yesterday, today, owner):
    model, average = today
    table = OWNERS[owner](model).table
    was = yesterday[1].optimizer.moments_of(OWNERS[owner](yesterday[1]).table)
    for moment, before in zip(model.optimizer.moments_of(table), was, strict=True):
        for row, source in enumerate(SOURCES[owner]):
            wanted = np.zeros_like(before[0]) if source is None else before.numpy()[source]
            np.testing.assert_array_equal(moment.numpy()[row], wanted)
    new = SOURCES[owner].index(None)
    assert np.abs(average.average_of(table).numpy()[new]).min() > 0


@pytest.mark.parametrize("owner", OWNERS)
def test_the_rest_of_the_networks_is_carried(yesterday, today, owner):
    pairs = zip(OWNERS[owner](yesterday[1]).weights, OWNERS[owner](today[0]).weights, strict=True)
    dense = [(before, now) for before, now in pairs if "table" not in now.name]
    assert len(dense) == (1 if owner == "item" else 4)  # An item is a sum; words have a matrix.
    for before, now in dense:
        np.testing.assert_array_equal(now, before)


def test_hashed_words_keep_their_rows(yesterday, today):
    before, now = (model.item_tower.network.word_table for model in (yesterday[1], today[0]))
    assert before.shape == (1 + 5, 4)
    np.testing.assert_array_equal(now, before)


def test_a_new_item_with_features_begins_without_an_id(yesterday, today):
    before = yesterday[1].item_tower.embeddings.numpy()
    now = today[0].item_tower.embeddings.numpy()
    assert not now[2:5].any()  # The pink ones: their features stand for them.
    np.testing.assert_array_equal(now[5:], before[5:])


def test_users_have_the_values_of_today(today):
    """Yesterday's model keeps nobody's; the layer reads those of the log of today."""
    layer = today[0].user_tower.user_features
    assert layer.num_known == 2
    network, encoder = layer.network, layer.encoder
    of_names = encoder({"country": np.array([b"FR", b"NL"], object)}).encoded
    found = layer(np.array([[1], [2]])).numpy()[:, 0]
    np.testing.assert_allclose(found, network(of_names), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["model.use_categories=false"], "Pass --set=model.use_categories=true, or train from"),
        (["features.hidden_dim=7"], "was trained with another features.hidden_dim"),
        (["features.columns=[]"], "was trained with another features.columns"),
    ],
)
def test_other_features_are_refused(yesterday, tmp_path, settings, text):
    with pytest.raises(InputError) as error:
        warm_start.check_warm_start(yesterday[0], CONFIG.override(settings), tmp_path)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("vocabulary", "gone", "text"),
    [
        # Its categories had weights of their own, and no feature stood for them.
        (BEFORE.with_features(None), "max_unknown_share", "run `recall ingest` and `recall train`"),
        # A network read the features of items.
        (BEFORE, "id_shrinkage", "run `recall train` again"),
    ],
    ids=["categories", "network"],
)
def test_a_model_of_an_earlier_version_is_one_line(tmp_path, vocabulary, gone, text):
    records.write_vocabulary(tmp_path, vocabulary)
    values = CONFIG.to_dict()
    del values["features"][gone]
    (tmp_path / records.CONFIG_NAME).write_text(json.dumps(values))
    records.write_record(tmp_path, records.build_record("train", {}, {}))
    for read in (lambda: load_model(tmp_path), lambda: warm_start.WarmStart(tmp_path, NOW)):
        with pytest.raises(InputError, match="earlier version of recall") as error:
            read()
        assert "\n" not in str(error.value)
        assert text in str(error.value)
