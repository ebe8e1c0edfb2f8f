"""A gate for one kind of events, from the log to the verdict, with scripted lists."""

import math

import numpy as np
import pytest

from pipelines.artifacts import records, trained_model
from pipelines.evaluation import evaluate, lists
from pipelines.training import trainer
from recall.config import RecallConfig
from recall.errors import InputError
from tests.pipelines import log_of_kinds
from tests.pipelines.log_of_kinds import NUM_ITEMS

CONFIG = RecallConfig().override(
    [
        "model.extractor=last_state",
        "model.dim=8",
        "model.num_blocks=1",
        "model.num_heads=1",
        "model.max_history_length=7",
        *log_of_kinds.SETTINGS,
        "evaluation.exclude_seen=false",
    ]
)


def with_thresholds(*texts):
    return CONFIG.override([f"evaluation.thresholds={list(texts)}".replace("'", '"')])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`examples` of a log with kinds, and `model`, which nobody has trained."""
    folder = tmp_path_factory.mktemp("kinds")
    log_of_kinds.ingest_into(folder, CONFIG)
    vocabulary = records.read_vocabulary(folder / "examples")
    (folder / "model").mkdir()
    model = trained_model.build_model(CONFIG, vocabulary)
    trained_model.best_manager(model, folder / "model").save()
    records.write_config(folder / "model", CONFIG)
    records.write_vocabulary(folder / "model", vocabulary)
    records.write_record(folder / "model", trainer.train_record(CONFIG, folder / "examples"))
    return folder


@pytest.fixture
def scripted(monkeypatch, folder):
    """Lists of the model: the second test event of each user on place 1, the first on place 3."""
    item_ids = list(records.read_vocabulary(folder / "examples").item_ids)

    def rank(histories, _):
        top_rows = np.full([len(histories), 50], -1, np.int32)
        for at in range(len(histories)):
            latest = int(item_ids[histories[at][-1] - 2][1:])
            for place, step in enumerate((2, 9, 1)):
                top_rows[at, place] = item_ids.index(f"i{(latest + step) % NUM_ITEMS}")
        return top_rows

    monkeypatch.setattr(lists, "vector_ranker", lambda *_: rank)


@pytest.mark.usefixtures("scripted")
def test_the_gate_counts_events_of_that_kind_alone(folder, tmp_path):
    config = with_thresholds(
        "test.ndcg@10[cart] >= 1",  # Place 1 of the even users; nobody else has one.
        "test.ndcg@10[view] > 0.71",
        "test.ndcg@10[buy] >= 0",
        "baselines.bigram.recall@2[cart] < test.recall@2[cart]",
    )

    report = evaluate.run_evaluation(folder / "examples", folder / "model", tmp_path / "e", config)

    checks = report["blessing"]["thresholds"]
    assert [check["passed"] for check in checks] == [True, False, False, True]
    assert checks[0]["value"] == 1
    # Views of even users: place 3. Of odd ones: places 1 and 3.
    of_odd = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert checks[1]["value"] == pytest.approx((1 / math.log2(4) + of_odd) / 2)
    assert checks[2]["value"] is None
    assert checks[2]["missing"] == "no test event is of the kind 'buy'"
    assert checks[3]["bound"] == 1


@pytest.mark.parametrize("kind", ["sale", "Buy"])
def test_a_kind_that_the_log_lacks_is_one_line_before_anything_is_ranked(folder, tmp_path, kind):
    config = with_thresholds(f"test.ndcg@10[{kind}] > 0")

    with pytest.raises(InputError) as error:
        evaluate.run_evaluation(folder / "examples", folder / "model", tmp_path / "e", config)

    assert str(error.value) == (
        f"evaluation.thresholds names {kind!r}, but the events are of the kinds buy, cart, view."
    )
    assert not (tmp_path / "e").exists()
