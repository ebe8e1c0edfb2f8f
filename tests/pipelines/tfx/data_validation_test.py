"""TensorFlow Data Validation reads what ingest writes; in the environment with TFX."""

import numpy as np
import pytest

from pipelines.ingestion import event_statistics, ingest
from pipelines.ingestion.open_log import open_events
from pipelines.validation import measures
from pipelines.validation.measures import Counts
from recall.config import RecallConfig

tfdv = pytest.importorskip("tensorflow_data_validation", reason="needs `make tfx-install`")

LOG = f"{event_statistics.FOLDER}/Split-log/{event_statistics.FILE_NAME}"
DAY_S = 86_400


def clicks_of(night):
    """Rows of (user, item, time): the second night has other favourites."""
    rng = np.random.default_rng(7)
    shares = rng.dirichlet(np.ones(30))
    shares = shares[::-1] if night else shares
    users, items = rng.integers(0, 80, 1000), rng.choice(30, 1000, p=shares)
    times = 1_700_000_000 + rng.integers(0, 20 * DAY_S, 1000)
    return list(zip(users.tolist(), items.tolist(), times.tolist(), strict=True))


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Folders of the examples of two nights, with their clicks."""
    root, found = tmp_path_factory.mktemp("nights"), []
    for night in range(2):
        rows = list(dict.fromkeys(clicks_of(night)))
        path = root / f"{night}.csv"
        lines = (f"u{user},i{item},{time}" for user, item, time in rows)
        path.write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
        config = RecallConfig().override(["ingest.min_user_events=1"])
        ingest.run_ingest(open_events(str(path)), None, root / str(night), config)
        found.append((root / str(night), rows))
    return found


def load(folder, path=LOG):
    schema = tfdv.load_schema_text(str(folder / event_statistics.EVENT_SCHEMA_NAME))
    return schema, tfdv.load_stats_binary(str(folder / path))


def test_statistics_are_those_that_it_computes_itself(nights):
    import pandas as pd

    folder, rows = nights[0]
    frame = pd.DataFrame({"item_id": [f"i{item}" for _, item, _ in rows]})
    expected = tfdv.generate_statistics_from_dataframe(frame).datasets[0]
    _, found = load(folder)
    dataset = found.datasets[0]
    assert dataset.num_examples == expected.num_examples
    mine, theirs = (one.features[0].string_stats for one in (dataset, expected))
    assert mine.unique == theirs.unique
    assert mine.avg_length == pytest.approx(theirs.avg_length)
    ranked = [{b.label: b.sample_count for b in s.rank_histogram.buckets} for s in (mine, theirs)]
    assert ranked[0] == ranked[1]


def test_a_log_keeps_to_its_own_schema(nights):
    for folder, _ in nights:
        schema, statistics = load(folder)
        assert not tfdv.validate_statistics(statistics, schema, "events").anomaly_info
        _, users = load(folder, LOG.replace("log", "users"))
        assert not tfdv.validate_statistics(users, schema, "users").anomaly_info


@pytest.mark.parametrize("split", ingest.WRITTEN_SPLITS)
def test_examples_keep_to_theirs(nights, split):
    folder, _ = nights[0]
    schema = tfdv.load_schema_text(str(folder / "schema.pbtxt"))
    files = f"{folder}/Split-{split}/*.tfrecord.gz"
    options = tfdv.StatsOptions(schema=schema)
    statistics = tfdv.generate_statistics_from_tfrecord(files, stats_options=options)
    assert statistics.datasets[0].num_examples > 0
    found = tfdv.validate_statistics(statistics, schema, split)
    assert not found.anomaly_info
    other = "train" if split != "train" else "valid"
    assert tfdv.validate_statistics(statistics, schema, other).anomaly_info


def test_drift_is_measured_as_we_measure_it(nights):
    schema, now = load(nights[1][0])
    _, before = load(nights[0][0])
    comparator = tfdv.get_feature(schema, "item_id").drift_comparator
    comparator.jensen_shannon_divergence.threshold = 1e-6
    found = tfdv.validate_statistics(now, schema, "events", previous_statistics=before)
    assert "item_id" in found.anomaly_info
    counts = []
    for _, rows in nights:
        items, clicks = np.unique([f"i{item}" for _, item, _ in rows], return_counts=True)
        counts.append(Counts(items.tolist(), clicks))
    ours = measures.compare_items(counts[1], counts[0])
    (measured,) = [m for info in found.drift_skew_info for m in info.drift_measurements]
    assert measured.value == pytest.approx(ours["popularity_jensen_shannon"], abs=1e-6)

    comparator.Clear()
    comparator.infinity_norm.threshold = 1e-6
    found = tfdv.validate_statistics(now, schema, "events", previous_statistics=before)
    (measured,) = [m for info in found.drift_skew_info for m in info.drift_measurements]
    assert measured.value == pytest.approx(ours["popularity_l_infinity"], abs=1e-6)
    same = tfdv.validate_statistics(now, schema, "events", previous_statistics=now)
    assert not same.anomaly_info
