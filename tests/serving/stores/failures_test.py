"""Words of a store in their texts, and the same words in names and numbers that are nobody's."""

import pytest

from recall.errors import InputError
from serving.stores import failures

BUCKET = "there is no bucket 'logs'. Check the name and AWS_REGION, or make the bucket first."


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "recall")


def put(error: str, request: str, key: str = "a") -> str:
    return (
        f"When uploading object with key '{key}' in bucket 'logs': AWS Error {error} during "
        f"PutObject operation: it did not work (Request ID: {request})"
    )


@pytest.mark.parametrize("request_id", ["1J", "jNi", "xLibJvm", "Forbidden", "TimedOut", "503"])
def test_the_number_of_the_request_says_nothing(request_id):
    found = failures.explain("s3://logs/a", "write", OSError(put("NO_SUCH_BUCKET", request_id)))
    assert type(found) is failures.MissingBucketError
    assert str(found) == f"Cannot write s3://logs/a: {BUCKET}"
    found = failures.explain("s3://logs/a", "write", OSError(put("ODD", request_id)))
    assert type(found) is InputError
    assert str(found) == (
        "Cannot write s3://logs/a: ODD during PutObject operation: it did not work."
    )


@pytest.mark.parametrize(
    "key", ["JNI/CLASSPATH.csv", "NoSuchBucket", "access denied: Forbidden", "timed out/SlowDown"]
)
def test_the_names_of_files_say_nothing(key):
    place = f"s3://logs/{key}"
    for error, kind in (
        ("ACCESS_DENIED", InputError),
        ("SLOW_DOWN", failures.StoreAwayError),
        ("NO_SUCH_KEY", failures.MissingError),
        ("NO_SUCH_BUCKET", failures.MissingBucketError),
        ("ODD", InputError),
    ):
        found = failures.explain(place, "write", OSError(put(error, "1", key)))
        assert type(found) is kind, str(found)
    found = failures.explain(f"gs://logs/{key}", "read", OSError(f"Cannot read logs/{key}: odd"))
    assert str(found) == f"Cannot read gs://logs/{key}: Cannot read ...: odd."


def test_a_short_name_leaves_the_words_of_the_store():
    error = OSError("When listing objects under key '' in bucket 'a': it is not a valid bucket")
    found = failures.explain("s3://a", "list", error)
    assert str(found).startswith("Cannot list s3://a: there is no bucket 'a'.")


@pytest.mark.parametrize("word", ["libjvm.so", "libhdfs.so", "CLASSPATH", "JNI_CreateJavaVM"])
def test_hadoop_is_missing_only_where_hadoop_is_asked(word):
    error = OSError(f"Unable to load {word}")
    assert "Install Java and Hadoop" in str(failures.explain("hdfs://node/a", "read", error))
    for place in ("s3://logs/a", "gs://logs/a"):
        assert str(failures.explain(place, "read", error)) == (
            f"Cannot read {place}: Unable to load {word}."
        )
