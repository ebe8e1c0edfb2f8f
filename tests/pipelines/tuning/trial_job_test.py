"""A training's log as it grows; whole trials are in tune_test."""

import pytest

from pipelines.tuning import trial_job
from recall.errors import InputError


def test_whole_lines_count(tmp_path):
    log = tmp_path / "log"
    assert trial_job.read_metric(log, "ndcg@10") == []
    log.write_text('{"epoch": 1, "val_ndcg@10": 0.5}\n{"epoch": 2, "val_nd')
    assert trial_job.read_metric(log, "ndcg@10") == [0.5]


def test_a_metric_that_is_not_there(tmp_path):
    (tmp_path / "log").write_text('{"loss": 1, "val_ndcg@10": 0.5, "val_recall@50": 0.1}\n')
    with pytest.raises(InputError, match=r"There are: ndcg@10, recall@50\."):
        trial_job.read_metric(tmp_path / "log", "mrr@10")
