"""Expected values by hand and by numpy."""

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipelines.ingestion import event_statistics, ingest
from pipelines.ingestion.open_log import open_events
from recall.config import RecallConfig


def counts_of(**clicks):
    return pa.table({"item_id": list(clicks), "count": pa.array(clicks.values(), pa.int64())})


def build(lengths=((1, 2), (4, 2)), days=(), **splits):
    built = event_statistics.build_statistics(
        {name: counts_of(**clicks) for name, clicks in splits.items()}, lengths, days
    )
    return {name: one.datasets[0] for name, one in built.items()}


def test_items_of_a_split():
    (dataset, feature) = (build(train={"b": 2, "aé": 3, "c": 2, "d": 0})["train"], None)
    (feature,) = dataset.features
    assert (dataset.name, dataset.num_examples) == ("train", 7)
    assert list(feature.path.step) == ["item_id"]
    assert feature.type == statistics_pb2.FeatureNameStatistics.STRING
    strings = feature.string_stats
    assert strings.unique == 3
    assert strings.avg_length == pytest.approx((2 * 1 + 3 * 3 + 2 * 1) / 7)  # é has two bytes
    assert [(top.value, top.frequency) for top in strings.top_values] == [
        ("aé", 3),
        ("b", 2),
        ("c", 2),
    ]
    ranks = [(one.low_rank, one.label, one.sample_count) for one in strings.rank_histogram.buckets]
    assert ranks == [(0, "aé", 3), (1, "b", 2), (2, "c", 2)]
    assert strings.common_stats.num_non_missing == strings.common_stats.tot_num_values == 7


def test_no_more_ranks_than_tfdv_keeps():
    many = {f"i{number}": number for number in range(1, 1501)}
    strings = build(log=many)["log"].features[0].string_stats
    assert (strings.unique, len(strings.rank_histogram.buckets)) == (1500, 1000)
    assert strings.rank_histogram.buckets[0].label == "i1500"
    assert len(strings.top_values) == 20


def test_clicks_of_users_are_those_of_numpy():
    rng = np.random.default_rng(0)
    lengths = rng.geometric(0.1, 500)
    pairs = np.stack(np.unique(lengths, return_counts=True), axis=1).tolist()
    dataset = build(lengths=pairs, train={"a": 1})["users"]
    numbers = dataset.features[0].num_stats
    assert dataset.num_examples == 500
    assert numbers.mean == pytest.approx(lengths.mean())
    assert numbers.std_dev == pytest.approx(lengths.std())
    assert (numbers.min, numbers.max) == (lengths.min(), lengths.max())
    assert abs(numbers.median - np.median(lengths)) <= 1
    standard, quantiles = numbers.histograms
    heights, edges = np.histogram(lengths, 10)
    assert [one.sample_count for one in standard.buckets] == heights.tolist()
    assert standard.buckets[0].low_value == pytest.approx(edges[0])
    assert sum(one.sample_count for one in quantiles.buckets) == pytest.approx(500)


def test_times_only_where_the_log_has_them():
    assert len(build(log={"a": 1})["log"].features) == 1
    feature = build(days=((19675, 1), (19677, 3)), log={"a": 4})["log"].features[1]
    assert list(feature.path.step) == ["timestamp"]
    assert feature.num_stats.mean == pytest.approx((19675 + 3 * 19677) / 4 * 86400)
    names = [[f.name for f in event_statistics.build_schema(has_times=t).feature] for t in (0, 1)]
    assert names == [["item_id", "num_events"], ["item_id", "num_events", "timestamp"]]


def test_ingest_writes_both_and_no_id_of_a_user(tmp_path):
    path = tmp_path / "log.csv"
    rows = [f"secret{user},{item},{n}" for user in "12" for n, item in enumerate("abcd")]
    path.write_text("\n".join(["user_id,item_id,timestamp", *rows, ""]))
    out = tmp_path / "examples"
    ingest.run_ingest(open_events(str(path)), None, out, RecallConfig())
    text = (out / "event_schema.pbtxt").read_text()
    schema = text_format.Parse(text, schema_pb2.Schema())
    assert [feature.name for feature in schema.feature] == ["item_id", "num_events"]
    found = {}
    for file in sorted((out / "event_statistics").glob("Split-*/FeatureStats.pb")):
        content = file.read_bytes()
        assert b"secret" not in content
        (dataset,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
        found[dataset.name] = dataset.num_examples
    assert found == {"log": 8, "train": 4, "valid": 2, "test": 2, "users": 2}
