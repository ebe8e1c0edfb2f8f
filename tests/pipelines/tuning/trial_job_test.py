"""A training's log as it grows; whole trials are in tune_test."""

from pipelines.tuning import trial_job


def test_whole_lines_count(tmp_path):
    log = tmp_path / "log"
    assert trial_job.read_metric(log, "ndcg@10") == []
    log.write_text('{"epoch": 1, "val_ndcg@10": 0.5}\n{"epoch": 2, "val_nd')
    assert trial_job.read_metric(log, "ndcg@10") == [0.5]
