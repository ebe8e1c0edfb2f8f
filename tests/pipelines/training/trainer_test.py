"""The training job: its artifact, resuming, the best epoch, and what stops it."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.held_out import read_held_out
from pipelines.evaluation.lists import EvaluationResult
from pipelines.training import model_folder, trainer
from pipelines.training.epochs import validation
from pipelines.training.epochs.losses import StopOnNan
from pipelines.training.epochs.saving import SaveProgress
from pipelines.training.epochs.validation import Validation
from pipelines.training.trainer import load_model, train_and_evaluate, train_record
from recall.config import RecallConfig
from recall.errors import InputError
from recall.models.dssrec import DSSRec
from recall.vocabulary import ItemVocabulary

NUM_ITEMS = 20
NUM_EPOCHS = 3

CONFIG = RecallConfig().override(
    [
        "model.extractor=last_state",  # The quickest to compile.
        "model.dim=8",
        "model.num_blocks=1",
        "model.num_heads=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=7",
        "model.dropout_rate=0",  # A resumed job draws other dropout masks.
        "loss.num_negatives=16",
        "train.batch_size=32",
        "train.learning_rate=0.03",
        f"train.max_epochs={NUM_EPOCHS}",
        "train.early_stopping_patience=5",
    ]
)
QUICK = CONFIG.override(["loss.seq2seq_weight=0", "train.max_epochs=1"])


def chains(num_users, seed=0):
    """Users who walk along a ring of items, 4 to 9 steps."""
    rng = np.random.default_rng(seed)
    starts, lengths = rng.integers(0, NUM_ITEMS, num_users), rng.integers(4, 10, num_users)
    return [
        ((start + np.arange(length)) % NUM_ITEMS).tolist()
        for start, length in zip(starts, lengths, strict=True)
    ]


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory, examples_writer):
    folder = tmp_path_factory.mktemp("run") / "examples"
    examples_writer(folder, chains(60), NUM_ITEMS, CONFIG.model.max_history_length)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, examples_dir):
    """The folder of a job that ran to its end."""
    model_dir = tmp_path_factory.mktemp("run") / "model"
    traces = []
    original = DSSRec.train_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DSSRec, "train_step", lambda *args: traces.append(1) or original(*args))
        train_and_evaluate(CONFIG, examples_dir, model_dir)
    assert len(traces) == 1  # Batches have several widths.
    return model_dir


@pytest.fixture
def eager():
    """Saves compiling, which takes longer than these jobs; `finished` is compiled."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


eagerly = pytest.mark.usefixtures("eager")
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.*tf.data functions")


def read_log(model_dir):
    text = (model_dir / "training_log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def without_seconds(log):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in log]


def ndcg_of(trained, held_out, k=10):
    """NDCG@10 of one positive each, seen items removed, user by user."""
    items = trained.model.item_tower(np.arange(2, NUM_ITEMS + 2)).numpy()
    vectors = trained.model.user_tower(held_out.histories.last_padded(7)).user_vectors.numpy()
    gains = []
    for user in range(held_out.num_users):
        scores = (vectors[user] @ items.T).max(axis=0)
        scores[held_out.histories[user] - 2] = -np.inf
        rank = list(np.argsort(-scores, kind="stable")).index(held_out.positives[user][0] - 2)
        gains.append(1 / np.log2(rank + 2) if rank < k else 0.0)
    return np.mean(gains)


def vectors_of(model):
    items = np.arange(2, NUM_ITEMS + 2)
    return model.user_tower(items.reshape(-1, 5)).user_vectors.numpy(), model.item_tower(items)


def scalars(folder):
    """(tag, step) -> value of all event files below `folder`."""
    found = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                number = tf.make_ndarray(value.tensor)
                found[f"{path.parent.name}/{value.tag}", event.step] = number
    return found


def test_a_finished_job_is_an_artifact(finished, examples_dir):
    assert records.is_current(finished, train_record(CONFIG, examples_dir))
    assert records.read_config(finished) == CONFIG
    expected = records.read_vocabulary(examples_dir)
    assert records.read_vocabulary(finished).item_ids == expected.item_ids


def test_the_log_has_a_line_per_epoch_and_the_loss_falls(finished):
    log = read_log(finished)

    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert log[-1]["loss"] < log[0]["loss"]
    for line in log:
        total = line["seq2item"] + CONFIG.loss.seq2seq_weight * line["seq2seq"]
        assert line["loss"] == pytest.approx(total, rel=1e-4)
        assert line["seconds"] >= 0
        assert {"val_ndcg@10", "val_recall@10", "val_recall@50"} < set(line)


@eagerly
def test_the_log_says_which_prototypes_are_in_use(examples_dir, tmp_path):
    config = QUICK.override(
        ["model.extractor=routing", "model.num_interests=2", "model.num_prototypes=4"]
    )
    trained = train_and_evaluate(config, examples_dir, tmp_path / "model")

    (line,) = read_log(tmp_path / "model")
    assert {"balance", "sharpness", "semantic"} <= set(line)
    # By hand, from the weights that were kept: one epoch is its own average. The vocabulary of
    # these examples has no counts, so all items count alike.
    routes, _ = trained.model.user_tower.route(np.arange(2, NUM_ITEMS + 2))
    shares = routes.numpy().mean(axis=0)
    perplexity = np.exp(-(shares * np.log(shares)).sum())
    assert line["prototype_perplexity"] == pytest.approx(perplexity, rel=1e-4)
    assert 1 < perplexity <= 4
    assert line["dead_prototypes"] == (shares < 0.0025).sum()


def test_the_loaded_model_is_that_of_the_best_epoch(finished, examples_dir):
    trained = load_model(finished)

    expected = max(line["val_ndcg@10"] for line in read_log(finished))
    result = ndcg_of(trained, read_held_out(examples_dir, "valid"))
    assert result == pytest.approx(expected, abs=1e-4)
    assert trained.config == CONFIG
    assert trained.vocabulary.num_items == NUM_ITEMS


def test_tensorboard_has_the_scalars_of_the_log(finished):
    found = scalars(finished / "logs")

    for line in read_log(finished):
        step = line["epoch"]
        for name in ("loss", "seq2item", "seq2seq"):
            assert found[f"training/loss/{name}", step] == pytest.approx(line[name], abs=1e-4)
        assert found["training/validation/ndcg@10", step] == pytest.approx(
            line["val_ndcg@10"], abs=1e-4
        )
    settings = found["training/config", 0].item().decode()
    assert f"| model.num_interests | `{CONFIG.model.num_interests}` |" in settings


def test_a_finished_job_is_not_run_again(finished, examples_dir, monkeypatch):
    monkeypatch.setattr(trainer, "_fit", lambda *args: pytest.fail("trained again"))

    train_and_evaluate(CONFIG, examples_dir, finished)


@pytest.mark.slow
def test_a_step_beyond_the_memory_is_one_line(examples_dir, tmp_path, monkeypatch):
    original = DSSRec.compute_losses

    def compute_losses(self, batch, *args, **kwargs):
        terms = original(self, batch, *args, **kwargs)
        shape = [tf.size(batch.history_ids) + 2**20, 2**20, 2**4]  # 64 TiB.
        values = tf.random.stateless_uniform(shape, [1, 2])
        return terms._replace(seq2item=terms.seq2item + tf.reduce_sum(values))

    monkeypatch.setattr(DSSRec, "compute_losses", compute_losses)

    with pytest.raises(InputError, match=r"^The memory of CPU:0 is too small .*Lower") as error:
        train_and_evaluate(QUICK, examples_dir, tmp_path / "model")

    assert "\n" not in str(error.value)


class Killed(BaseException):
    """As sudden as a signal: no handler of the job catches it."""


def kill_in_step(patch):
    """In the middle of the second epoch."""
    original = StopOnNan.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        if int(self.model.optimizer.iterations) == 6:  # Of four an epoch.
            raise Killed

    patch.setattr(StopOnNan, "on_train_batch_end", on_train_batch_end)


def kill_before_state_is_saved(patch):
    """After the second epoch's best weights and log line, before its state."""
    original = tf.train.CheckpointManager.save

    def save(self, checkpoint_number=None, **kwargs):
        if self.directory.endswith("checkpoints") and checkpoint_number == 2:
            raise Killed
        return original(self, checkpoint_number=checkpoint_number, **kwargs)

    patch.setattr(tf.train.CheckpointManager, "save", save)


@eagerly
@pytest.mark.parametrize(
    "kill",
    # Within an epoch a job of the fast tests of `mid_epoch` is killed too.
    [pytest.param(kill_in_step, marks=pytest.mark.slow), kill_before_state_is_saved],
)
def test_a_killed_job_resumes_and_ends_as_if_nothing_had_happened(
    kill, finished, examples_dir, tmp_path
):
    model_dir = tmp_path / "model [1]*"  # TensorFlow takes such a name for a pattern.
    with pytest.MonkeyPatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            train_and_evaluate(CONFIG, examples_dir, model_dir)
    assert not (model_dir / "artifact.json").exists()
    with pytest.raises(InputError, match="no finished artifact"):
        load_model(model_dir)
    epochs_begun = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SaveProgress,
            "on_epoch_begin",
            lambda self, epoch, logs=None: epochs_begun.append(epoch),
        )
        resumed = train_and_evaluate(CONFIG, examples_dir, model_dir)

    assert epochs_begun == [1, 2]  # Counted from 0: the first one is not repeated.
    assert records.is_current(model_dir, train_record(CONFIG, examples_dir))
    for line, expected in zip(
        without_seconds(read_log(model_dir)), without_seconds(read_log(finished)), strict=True
    ):
        assert line == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for vectors, expected in zip(
        vectors_of(resumed.model), vectors_of(load_model(finished).model), strict=True
    ):
        np.testing.assert_allclose(vectors, expected, atol=1e-3)


@eagerly
@pytest.mark.parametrize(
    "negatives", [pytest.param("queue", marks=pytest.mark.slow), "interest_queues"]
)
def test_a_resumed_job_has_the_queue_of_the_killed_one(negatives, examples_dir, tmp_path):
    config = QUICK.override([f"loss.negatives={negatives}", "train.max_epochs=2"])
    train_and_evaluate(config, examples_dir, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        kill_in_step(patch)
        with pytest.raises(Killed):
            train_and_evaluate(config, examples_dir, tmp_path / "resumed")

    train_and_evaluate(config, examples_dir, tmp_path / "resumed")

    whole, resumed = (without_seconds(read_log(tmp_path / name)) for name in ("whole", "resumed"))
    assert resumed == [pytest.approx(line, abs=2e-5) for line in whole]


def test_a_job_killed_after_its_last_epoch_only_has_to_be_sealed(finished, examples_dir, tmp_path):
    model_dir = tmp_path / "model"
    shutil.copytree(finished, model_dir)
    (model_dir / "artifact.json").unlink()

    train_and_evaluate(CONFIG, examples_dir, model_dir)

    assert records.is_current(model_dir, train_record(CONFIG, examples_dir))
    assert (model_dir / "training_log.jsonl").read_text() == (
        finished / "training_log.jsonl"
    ).read_text()


def test_a_job_killed_while_it_wrote_its_first_file_starts_again(examples_dir, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / ".started.json.0123abcd.partial").write_text('{"job')
    config = QUICK.override(["train.max_epochs=1"])

    train_and_evaluate(config, examples_dir, tmp_path / "model")

    assert not list((tmp_path / "model").glob("*.partial"))


@eagerly
def test_stops_when_nothing_gets_better_and_keeps_the_best_epoch(
    examples_dir, tmp_path, monkeypatch
):
    scripted, weights = iter([0.1, 0.3, 0.2, 0.3, 0.9]), []

    def measure(self):  # Runs under the averaged weights.
        weights.append(self.model.get_weights())
        return {"val_ndcg@10": next(scripted)}

    monkeypatch.setattr(Validation, "_measure", measure)
    config = QUICK.override(["train.max_epochs=9", "train.early_stopping_patience=2"])

    trained = train_and_evaluate(config, examples_dir, tmp_path / "model")

    # The best epoch is the second; .3 again is not better, so two epochs later it ends.
    assert [line["val_ndcg@10"] for line in read_log(tmp_path / "model")] == [0.1, 0.3, 0.2, 0.3]
    for weight, best in zip(trained.model.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(weight, best)
    assert any((w != last).any() for w, last in zip(weights[1], weights[3], strict=True))


@eagerly
def test_the_stopping_metric_decides_which_epoch_is_kept(examples_dir, tmp_path, monkeypatch):
    scripted = iter([(0.3, 0.1), (0.2, 0.4), (0.1, 0.3)])

    def measure(_):
        ndcg, recall = next(scripted)
        return {"val_ndcg@10": ndcg, "val_recall@10": 0.5, "val_recall@50": recall}

    monkeypatch.setattr(Validation, "_measure", measure)
    config = QUICK.override(
        [
            "train.max_epochs=9",
            "train.early_stopping_patience=1",
            "train.stopping_metric=recall@50",
        ]
    )

    train_and_evaluate(config, examples_dir, tmp_path / "model")

    assert len(read_log(tmp_path / "model")) == 3
    (kept,) = (tmp_path / "model").rglob("best/*.index")
    assert kept.stem.endswith("-2")


@eagerly
def test_clicks_on_popular_items_count_less_in_the_debiased_metric(
    examples_dir, tmp_path, monkeypatch
):
    counts = np.where(np.arange(NUM_ITEMS) % 2, 10, 40)
    rows = read_held_out(examples_dir, "valid").positives.values - 2

    def evaluate(_, __, held_out, **___):
        """Clicks on odd items are found, others are not."""
        rows = held_out.positives.values - 2
        is_odd = rows % 2 == 1
        top_rows = np.where(is_odd, rows, (rows + 1) % NUM_ITEMS)[:, np.newaxis]
        metrics = {"recall@10": 0.1, "ndcg@10": 0.1, "recall@50": 0.1}
        return EvaluationResult(metrics, np.repeat(top_rows, 50, axis=1), {})

    monkeypatch.setattr(validation, "evaluate_user_vectors", evaluate)
    original = records.read_vocabulary

    def read_vocabulary(folder):
        vocabulary = original(folder)
        return ItemVocabulary(vocabulary.item_ids, counts=counts)

    monkeypatch.setattr(records, "read_vocabulary", read_vocabulary)
    config = QUICK.override(["train.stopping_metric=debiased_hit_rate@50", "train.max_epochs=1"])

    train_and_evaluate(config, examples_dir, tmp_path / "model")

    (line,) = read_log(tmp_path / "model")
    found, missed = (rows % 2 == 1).sum() / 10, (rows % 2 == 0).sum() / 40
    assert line["val_debiased_hit_rate@50"] == pytest.approx(found / (found + missed), rel=1e-6)


@eagerly
def test_a_loss_that_is_no_number_is_one_clear_line(examples_dir, tmp_path):
    config = QUICK.override(["train.learning_rate=1e38"])

    with pytest.raises(InputError, match=r"`train\.learning_rate`") as error:
        train_and_evaluate(config, examples_dir, tmp_path / "model")

    assert "nan" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model" / "artifact.json").exists()


@eagerly
def test_changed_settings_train_anew(finished, examples_dir, tmp_path):
    model_dir = tmp_path / "model"
    shutil.copytree(finished, model_dir)

    trained = train_and_evaluate(QUICK, examples_dir, model_dir)

    assert trained.config == QUICK
    assert [line["epoch"] for line in read_log(model_dir)] == [1]
    assert records.is_current(model_dir, train_record(QUICK, examples_dir))


def test_settings_of_other_jobs_do_not_count(finished, examples_dir):
    other = CONFIG.override(["index.reorder=7", "ingest.num_shards=2", "evaluation.ks=[1]"])

    assert records.is_current(finished, train_record(other, examples_dir))
    of_the_job = ["train.strategy=processes", "train.checkpoint_minutes=1", "train.stall_minutes=1"]
    assert records.is_current(finished, train_record(CONFIG.override(of_the_job), examples_dir))
    for assignment in ("train.seed=9", "model.dim=4", "evaluation.exclude_seen=false"):
        changed = train_record(CONFIG.override([assignment]), examples_dir)
        assert not records.is_current(finished, changed)


def test_a_model_of_other_examples_is_not_overwritten(
    finished, tmp_path, examples_writer, monkeypatch
):
    model_dir, other_dir = tmp_path / "model", tmp_path / "examples"
    shutil.copytree(finished, model_dir)
    length = CONFIG.model.max_history_length
    examples_writer(other_dir, chains(20, seed=5), NUM_ITEMS, length, identity="another log")

    with pytest.raises(InputError, match="other examples"):
        train_and_evaluate(CONFIG, other_dir, model_dir)
    assert load_model(model_dir).config == CONFIG  # Still there.

    begun = []
    monkeypatch.setattr(trainer, "_fit", lambda *args: begun.append(sorted(model_dir.iterdir())))
    with pytest.raises(InputError, match="best"):  # Nothing was trained here.
        train_and_evaluate(CONFIG, other_dir, model_dir, overwrite=True)
    names = [path.name for path in begun[0]]
    assert "checkpoints" not in names
    assert "training_log.jsonl" not in names


def test_a_folder_of_something_else_is_not_touched(examples_dir, tmp_path):
    (tmp_path / "thesis.txt").write_text("a year's work")

    with pytest.raises(InputError, match="not empty"):
        train_and_evaluate(CONFIG, examples_dir, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_another_job_is_replaced_on_demand_only(examples_dir, tmp_path, monkeypatch):
    records.write_record(tmp_path, records.build_record("export", {}, {}))
    (tmp_path / "user_tower").mkdir()
    with pytest.raises(InputError, match="made by `recall export`"):
        train_and_evaluate(CONFIG, examples_dir, tmp_path)
    assert (tmp_path / "user_tower").exists()

    monkeypatch.setattr(trainer, "_fit", lambda *args: None)
    with pytest.raises(InputError, match="best"):  # Nothing was trained here.
        train_and_evaluate(CONFIG, examples_dir, tmp_path, overwrite=True)
    assert not (tmp_path / "user_tower").exists()


def test_a_broken_off_start_anew_leaves_no_model_that_counts_as_finished(
    finished, examples_dir, tmp_path, monkeypatch
):
    model_dir = tmp_path / "model"
    shutil.copytree(finished, model_dir)
    removed = []

    def remove_one(path, **kwargs):
        if removed:
            raise KeyboardInterrupt
        removed.append(path.name)

    monkeypatch.setattr(model_folder.shutil, "rmtree", remove_one)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(QUICK, examples_dir, model_dir)

    # Neither finished, nor a state that the old settings would go on from.
    assert records.read_record(model_dir) is None
    assert removed == ["checkpoints"]


@eagerly
def test_a_damaged_example_file_is_named(examples_dir, tmp_path):
    damaged_dir = tmp_path / "examples"
    shutil.copytree(examples_dir, damaged_dir)
    path = sorted((damaged_dir / "Split-train").iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(InputError, match=path.name) as error:
        train_and_evaluate(QUICK, damaged_dir, tmp_path / "model")
    assert f"damaged. Remove {damaged_dir} and run `recall ingest` again" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model" / "artifact.json").exists()


@eagerly
def test_a_file_of_something_else_is_named(examples_dir, tmp_path):
    other_dir = tmp_path / "examples"
    shutil.copytree(examples_dir, other_dir)
    path = sorted((other_dir / "Split-train").iterdir())[-1]
    count = json.loads((other_dir / "statistics.json").read_text())["splits"]["train"]["files"]
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for _ in range(count[path.name]):
            writer.write(b"no example")

    with pytest.raises(InputError, match=path.name):
        train_and_evaluate(QUICK, other_dir, tmp_path / "model")


def test_a_damaged_state_is_not_resumed_from(finished, examples_dir, tmp_path):
    model_dir = tmp_path / "model"
    shutil.copytree(finished, model_dir)
    (model_dir / "artifact.json").unlink()
    (path,) = (model_dir / "checkpoints").glob("*.data-*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(InputError, match="checkpoints is damaged"):
        train_and_evaluate(CONFIG, examples_dir, model_dir)


def test_examples_that_were_never_finished_are_refused(tmp_path):
    with pytest.raises(InputError, match="recall ingest"):
        train_and_evaluate(CONFIG, tmp_path / "examples", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("length", [6, 8])
def test_a_model_that_reads_another_length_than_the_examples_have_is_refused(
    examples_dir, tmp_path, length
):
    config = CONFIG.override([f"model.max_history_length={length}"])
    with pytest.raises(InputError, match=r"length=7.*read \d.*--set=model.max_history_length=7"):
        train_and_evaluate(config, examples_dir, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def damage_config(model_dir):
    (model_dir / "config.json").write_text("{")


def damage_vocabulary(model_dir):
    (model_dir / "vocabulary.parquet").write_bytes(b"PAR1 and no more")


def damage_weights(model_dir):
    (path,) = (model_dir / "best").glob("*.data-*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove_weights(model_dir):
    shutil.rmtree(model_dir / "best")


def shrink_vocabulary(model_dir):
    vocabulary = records.read_vocabulary(model_dir)
    records.write_vocabulary(model_dir, type(vocabulary)(vocabulary.item_ids[:-1]))


@pytest.mark.parametrize(
    "damage",
    [damage_config, damage_vocabulary, damage_weights, remove_weights, shrink_vocabulary],
)
def test_a_damaged_model_is_refused_in_one_line(finished, tmp_path, damage):
    model_dir = tmp_path / "model"
    shutil.copytree(finished, model_dir)
    damage(model_dir)

    with pytest.raises(InputError) as error:
        load_model(model_dir)
    assert str(model_dir) in str(error.value)
    if damage in (damage_weights, remove_weights):
        # As a finished model it is up to date: to train again alone mends nothing.
        assert f"Remove {model_dir} and run `recall train` again" in str(error.value)


@pytest.mark.parametrize(
    "is_compiled",
    [pytest.param(True, marks=pytest.mark.slow), False],
    ids=["compiled", "plain"],
)
def test_a_killed_job_goes_on_with_the_dropout_and_the_negatives_it_would_have_had(
    is_compiled, examples_dir, tmp_path
):
    config = CONFIG.override(
        [
            "model.dropout_rate=0.3",
            "loss.negatives=queue",
            f"loss.seq2seq_weight={CONFIG.loss.seq2seq_weight if is_compiled else 0}",
            f"train.jit_compile={str(is_compiled).lower()}",
            "train.batch_slots=64",
            "train.max_epochs=2",
        ]
    )
    train_and_evaluate(config, examples_dir, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        kill_before_state_is_saved(patch)
        with pytest.raises(Killed):
            train_and_evaluate(config, examples_dir, tmp_path / "resumed")

    train_and_evaluate(config, examples_dir, tmp_path / "resumed")

    whole, resumed = (without_seconds(read_log(tmp_path / name)) for name in ("whole", "resumed"))
    assert len(whole) == 2
    assert resumed == [pytest.approx(line, abs=1e-5) for line in whole]
