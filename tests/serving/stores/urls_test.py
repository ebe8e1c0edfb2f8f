"""URLs of stores: one spelling, what is refused, their parts."""

import pytest

from recall.errors import InputError
from serving.stores import urls


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("S3A://bucket//a/./b/", "s3://bucket/a/b"),
        ("s3n://bucket", "s3://bucket"),
        ("gcs://bucket/a b%20ä", "gs://bucket/a b%20ä"),
        ("gs://bucket/", "gs://bucket"),
        ("hdfs://node:8020/logs/", "hdfs://node:8020/logs"),
        ("hdfs:///logs", "hdfs:///logs"),
        ("s3://bucket/day=*/[ab]?.csv", "s3://bucket/day=*/[ab]?.csv"),
    ],
)
def test_one_spelling(given, meant):
    assert urls.is_url(given)
    assert urls.parse(given, "--events") == meant


@pytest.mark.parametrize(
    "path", ["runs/mine", "/s3://x", "file:///x", "https://host/x", "s3:/x", "tfds:name", "", None]
)
def test_what_is_no_url_of_a_store(path):
    assert not urls.is_url(path)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("s3:///a", "--events=s3:///a names no bucket. Write s3://BUCKET/folder."),
        ("s3://b/../c", "--events=s3://b/../c has `..` in it. Write the place itself."),
        ("gs://b/a\nb", r"--events='gs://b/a\nb' has control characters in it. Rename the folder."),
        (
            "s3://key:secret@b/x",
            "--events has a password in it, which would be seen in logs. Write s3://b/..., and "
            "give credentials by the environment.",
        ),
    ],
)
def test_what_is_refused(given, error):
    with pytest.raises(InputError) as caught:
        urls.parse(given, "--events")
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket/a/b.csv", ("s3", "bucket", "a/b.csv")),
        ("gs://bucket", ("gs", "bucket", "")),
        ("hdfs://node:8020/x", ("hdfs", "node:8020", "x")),
        ("hdfs:///x/y", ("hdfs", "", "x/y")),
    ],
)
def test_the_parts_of_a_url(url, parts):
    assert urls.split(url) == parts


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("s3://bucket/day=*/a.csv", ("s3://bucket", "day=*/a.csv")),
        ("s3://bucket/a/b?.csv", ("s3://bucket/a", "b?.csv")),
        ("s3://bucket/a/b.csv", ("s3://bucket/a/b.csv", "")),
    ],
)
def test_where_a_pattern_begins(pattern, parts):
    assert urls.split_pattern(pattern) == parts


def test_places_below_a_folder():
    assert urls.join("s3://b/run/", "model", "x") == "s3://b/run/model/x"
    assert urls.join("/runs/mine", "model") == "/runs/mine/model"
    assert urls.relative("s3://b/run/model/x", "s3://b/run") == "model/x"
    assert urls.name_of("s3://b/run/model/") == "model"
