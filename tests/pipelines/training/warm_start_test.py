"""A training that goes on from an earlier one: what is carried over, and what that saves."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.trained_model import build_model
from pipelines.training import job_state, trainer, warm_start
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

NUM_ITEMS = 20
CONFIG = RecallConfig().override(
    [
        "model.extractor=last_state",  # The quickest to compile.
        "model.dim=8",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=7",
        "model.dropout_rate=0",
        "loss.num_negatives=16",
        "loss.seq2seq_weight=0",
        "loss.negatives=queue",
        "train.batch_size=32",
        "train.learning_rate=0.03",
        "train.max_epochs=2",
        "train.early_stopping_patience=40",
    ]
)
BEFORE = ItemVocabulary(
    [f"i{number}" for number in range(NUM_ITEMS)],
    categories=[["even"], ["odd"]] * (NUM_ITEMS // 2),
)
# Another order; i3 is gone, x and y are new, and so is the category of y.
NOW = ItemVocabulary(
    ["x", *(f"i{number}" for number in reversed(range(NUM_ITEMS)) if number != 3), "y"],
    categories=[["odd"], *([f"{'odd' if n % 2 else 'even'}"] for n in (19, 18)), *[[]] * 17, ["z"]],
)


def chains(num_users, num_items=NUM_ITEMS, seed=0):
    """Users who walk along a ring of items, 5 to 9 steps."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, num_items, num_users), rng.integers(5, 10, num_users)
    return [
        ((start + np.arange(length)) % num_items).tolist()
        for start, length in zip(starts, lengths, strict=True)
    ]


def write_log(folder, examples_writer, vocabulary, sequences):
    """Examples whose numbers are rows of a vocabulary."""
    length = CONFIG.model.max_history_length
    examples_writer(folder, sequences, len(vocabulary), length, identity=str(folder))
    records.write_vocabulary(folder, vocabulary)
    return folder


@pytest.fixture
def eager():
    """Saves compiling, which takes longer than these jobs."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


eagerly = pytest.mark.usefixtures("eager")
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.*tf.data functions")


@pytest.fixture(scope="module")
def logs(tmp_path_factory, examples_writer):
    """Yesterday's examples and today's."""
    folder = tmp_path_factory.mktemp("logs")
    return (
        write_log(folder / "before", examples_writer, BEFORE, chains(60)),
        write_log(folder / "now", examples_writer, NOW, chains(60, len(NOW), seed=1)),
    )


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory, logs):
    """A run whose model was trained on yesterday's log."""
    run = tmp_path_factory.mktemp("runs") / "yesterday"
    train_and_evaluate(CONFIG, logs[0], run / "model")
    return run


def state_of(model_dir):
    """Name -> value of all variables of a job."""
    reader = tf.train.load_checkpoint(str(model_dir / "checkpoints"))
    return {
        name.removesuffix(job_state.VALUE): reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith(job_state.VALUE)
    }


def begin(run, vocabulary, config=CONFIG):
    """The state of a training that is about to begin, by name."""
    model = build_model(config, vocabulary)
    average = trainer.WeightAverage(model.trainable_variables, 0.1)
    state = trainer.JobState(
        {
            "weight": model.variables,
            "optimizer": model.optimizer.variables,
            "average": average.averages,
        }
    )
    fresh = {name: variable.numpy() for name, variable in state.variables.items()}
    warm_start.WarmStart(run, vocabulary).apply(model, average, state)
    return fresh, {name: variable.numpy() for name, variable in state.variables.items()}


def dense(vocabulary, *raw_ids):
    """Rows of raw ids in a table."""
    return [vocabulary.item_ids.index(raw) + FIRST_ITEM_ID for raw in raw_ids]


def queue_in(state):
    """The name of the queue of clicks: the only weights that are whole numbers."""
    (name,) = [name for name in state if name.startswith("weight") and state[name].dtype == "int64"]
    return name


# The table, its average and the two moments of the optimiser.
ITEM_TABLES = {"weight_0": True, "average_0": True, "optimizer_1": False, "optimizer_2": False}


@pytest.mark.parametrize(("name", "has_mean"), ITEM_TABLES.items(), ids=ITEM_TABLES)
def test_rows_of_items_follow_their_raw_ids(yesterday, name, has_mean):
    before = state_of(yesterday / "model")[name]
    _, state = begin(yesterday, NOW)
    now = state[name]

    assert now.shape == (len(NOW) + 2, 8)
    np.testing.assert_array_equal(now[:2], before[:2])
    for row, raw in enumerate(NOW.item_ids):
        if raw not in ("x", "y"):
            np.testing.assert_array_equal(now[row + 2], before[dense(BEFORE, raw)[0]], raw)
    assert before.any()
    if not has_mean:
        assert not now[dense(NOW, "x", "y")].any()
        return
    # Of today's items only i19 is odd; nothing is known of z.
    np.testing.assert_allclose(now[dense(NOW, "x")], before[dense(BEFORE, "i19")], rtol=1e-6)
    kept = dense(BEFORE, *(raw for raw in BEFORE.item_ids if raw != "i3"))
    np.testing.assert_allclose(now[dense(NOW, "y")[0]], before[kept].mean(axis=0), rtol=1e-4)


def test_all_else_is_kept_and_the_optimiser_goes_on_counting(yesterday):
    before = state_of(yesterday / "model")
    fresh, state = begin(yesterday, NOW)
    others = set(state) - {*ITEM_TABLES, queue_in(state)}

    assert len(others) > 40
    for name in others:
        np.testing.assert_array_equal(state[name], before[name], name)
    assert state["optimizer_0"] == 6  # Two epochs of three steps, one for each width.
    assert fresh["optimizer_0"] == 0


def test_a_queue_has_the_numbers_of_today_and_no_item_that_is_gone(yesterday):
    before, (fresh, state) = state_of(yesterday / "model"), begin(yesterday, NOW)
    name = queue_in(state)
    clicks = [raw for raw in BEFORE.to_raw(before[name]) if raw != "i3"]

    kept = NOW.to_raw(state[name])

    assert len(kept) == 16
    assert kept[: len(clicks)] == clicks
    np.testing.assert_array_equal(state[name][len(clicks) :], fresh[name][: 16 - len(clicks)])


@pytest.mark.parametrize("negatives", ["uniform", "interest_queues"])
def test_a_queue_of_another_kind_stays_fresh(yesterday, negatives):
    fresh, state = begin(yesterday, NOW, CONFIG.override([f"loss.negatives={negatives}"]))

    for name, value in state.items():
        if name.startswith("weight") and value.dtype == "int64":
            np.testing.assert_array_equal(value, fresh[name])


def test_a_longer_queue_is_filled_up(yesterday):
    fresh, state = begin(yesterday, NOW, CONFIG.override(["loss.num_negatives=30"]))
    name = queue_in(state)

    clicks = [raw for raw in BEFORE.to_raw(state_of(yesterday / "model")[name]) if raw != "i3"]

    assert NOW.to_raw(state[name][: len(clicks)]) == clicks
    np.testing.assert_array_equal(state[name][len(clicks) :], fresh[name][: 30 - len(clicks)])


@eagerly
def test_the_job_says_what_it_began_with(logs, yesterday, tmp_path, caplog):
    train_and_evaluate(CONFIG, logs[1], tmp_path / "model", warm_start=yesterday)

    facts = json.loads((tmp_path / "model" / "warm_start.json").read_text())
    assert facts["run"] == str(yesterday)
    assert (facts["carried_items"], facts["new_items"], facts["gone_items"]) == (19, 2, 1)
    assert facts["first_step"] == 6
    assert 0 < facts["val_ndcg@10"] < 1
    record = records.read_record(tmp_path / "model")
    before = records.checksum_of_record(yesterday / "model", "train")
    assert record["inputs"]["warm_start"] == before
    state = state_of(tmp_path / "model")
    assert state["optimizer_0"] == 12
    assert state["progress_0"] == 2  # Epochs of this job.


@eagerly
def test_an_interrupted_job_goes_on_as_if_nothing_had_been(logs, yesterday, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = CONFIG.override(["train.learning_rate_schedule=cosine"])
    train_and_evaluate(config, logs[1], whole, warm_start=yesterday)

    class Killed(BaseException):
        pass

    def kill(self, epoch, logs=None):
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.SaveProgress, "on_epoch_begin", kill)
        with pytest.raises(Killed):
            train_and_evaluate(config, logs[1], broken, warm_start=yesterday)
    train_and_evaluate(config, logs[1], broken, warm_start=yesterday)

    expected, resumed = state_of(whole), state_of(broken)
    for name in expected.keys() - {"save_counter"}:
        value = expected[name]
        np.testing.assert_allclose(resumed[name], value, atol=1e-6, err_msg=name)


@pytest.mark.slow
@eagerly
def test_another_earlier_model_trains_anew(logs, yesterday, tmp_path):
    train_and_evaluate(CONFIG, logs[1], tmp_path / "model")
    train_and_evaluate(CONFIG, logs[1], tmp_path / "model", warm_start=yesterday)

    assert (tmp_path / "model" / "warm_start.json").exists()
    stamp = (tmp_path / "model" / "warm_start.json").stat().st_mtime_ns
    train_and_evaluate(CONFIG, logs[1], tmp_path / "model", warm_start=yesterday)
    assert (tmp_path / "model" / "warm_start.json").stat().st_mtime_ns == stamp  # Up to date.


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("model.dim=4", "model.dim=8, this run has 4. Pass --set=model.dim=8,"),
        ("model.extractor=dssrec", "model.extractor=last_state"),
        ("model.num_blocks=2", "model.num_blocks=1, this run has 2"),
    ],
)
def test_other_settings_of_the_model_are_refused(logs, yesterday, tmp_path, setting, text):
    with pytest.raises(InputError, match="--warm_start=") as error:
        train_and_evaluate(
            CONFIG.override([setting]), logs[1], tmp_path / "model", warm_start=yesterday
        )

    assert text in str(error.value)
    assert not (tmp_path / "model").exists()


def test_all_settings_that_differ_are_named(yesterday, tmp_path):
    config = CONFIG.override(["model.dim=4", "model.extractor=dssrec", "model.num_interests=3"])

    with pytest.raises(InputError) as error:
        warm_start.check_warm_start(yesterday, config, tmp_path)

    assert "model.extractor=last_state, model.num_interests=4, model.dim=8" in str(error.value)
    assert "this run has dssrec, 3, 4." in str(error.value)


def test_dropout_losses_and_training_may_differ(yesterday, tmp_path):
    config = CONFIG.override(
        [
            "model.dropout_rate=.5",
            "loss.temperature=.2",
            "train.learning_rate=.1",
        ]
    )

    warm_start.check_warm_start(yesterday, config, tmp_path)


def test_folders_without_a_model_are_refused(logs, yesterday, tmp_path):
    for folder in (tmp_path, tmp_path / "missing", logs[0]):
        with pytest.raises(InputError, match="holds no finished model"):
            warm_start.find_earlier_model(folder)
    assert warm_start.find_earlier_model(yesterday) == yesterday / "model"
    assert warm_start.find_earlier_model(yesterday / "model") == yesterday / "model"


def test_the_folder_that_is_to_be_written_is_refused(logs, yesterday):
    with pytest.raises(InputError, match="is the model that is to be written"):
        train_and_evaluate(
            CONFIG, logs[1], yesterday / "model", warm_start=yesterday, overwrite=True
        )
    assert (yesterday / "model" / records.RECORD_NAME).exists()


def test_a_catalogue_of_other_items_is_refused(yesterday):
    with pytest.raises(InputError, match="knows none of the 2 items of this log"):
        warm_start.WarmStart(yesterday, ItemVocabulary(["a", "b"]))


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_state_is_one_line(yesterday, tmp_path, damage):
    run = tmp_path / "run [1]"  # TensorFlow takes such a name for a pattern.
    shutil.copytree(yesterday, run)
    begin(run, NOW)
    if damage == "missing":
        shutil.rmtree(run / "model" / "checkpoints")
    else:
        (data,) = (run / "model" / "checkpoints").glob("*.data-*")
        data.write_bytes(data.read_bytes()[:100])

    with pytest.raises(InputError, match="checkpoints is damaged or missing"):
        begin(run, NOW)


@pytest.mark.slow
def test_a_fifth_of_the_steps_reaches_what_training_from_scratch_does(tmp_path, examples_writer):
    """Items along a ring; today there are four more of them, and all numbers are others."""
    before = ItemVocabulary([f"i{number}" for number in range(NUM_ITEMS)])
    order = np.random.default_rng(5).permutation(NUM_ITEMS + 4)
    now = ItemVocabulary([f"i{number}" for number in order])
    row_of = np.argsort(order)
    walks = [row_of[walk].tolist() for walk in chains(300, NUM_ITEMS + 4, seed=2)]
    first = write_log(tmp_path / "first", examples_writer, before, chains(300))
    second = write_log(tmp_path / "second", examples_writer, now, walks)
    config = CONFIG.override(["loss.negatives=uniform", "train.learning_rate=.001"])
    long, short = (config.override([f"train.max_epochs={n}"]) for n in (25, 5))

    train_and_evaluate(long, first, tmp_path / "yesterday")
    train_and_evaluate(long, second, tmp_path / "scratch")
    train_and_evaluate(short, second, tmp_path / "warm", warm_start=tmp_path / "yesterday")

    def metric(name):
        lines = (tmp_path / name / "training_log.jsonl").read_text().splitlines()
        return [json.loads(line)["val_ndcg@10"] for line in lines]

    scratch, warm = metric("scratch"), metric("warm")
    assert scratch[4] < 0.9 * max(scratch)
    assert max(warm) >= max(scratch)
