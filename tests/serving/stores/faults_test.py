"""A store that refuses, cuts off and goes away, as the functions that ask it see it."""

from concurrent import futures

import pytest

from recall.errors import InputError
from serving.stores import copies, files, filesystems
from serving.stores.failures import MissingError, StoreAwayError
from tests.s3_faults import Fault

DENIED = "access denied. The credentials must be valid and may read there (s3:GetObject)."


@pytest.fixture
def url(s3, bucket, door):
    s3.put(f"{bucket}/a/b", b"content")
    return f"{bucket}/a/b"


@pytest.mark.parametrize("ask", [files.look_at, files.read_bytes, files.open_input_file])
@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (403, "AccessDenied", InputError, DENIED),
        (403, "RequestTimeTooSkewed", InputError, "the clock of this machine is not that of the"),
        (400, "ExpiredToken", InputError, "the credentials have expired. Get new ones. Set AWS_"),
        (301, "PermanentRedirect", InputError, "the bucket is in another region. Set AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", InputError, "the bucket is in another region."),
        (500, "InternalError", StoreAwayError, "the store does not answer ("),
        (503, "SlowDown", StoreAwayError, "the store does not answer ("),
        (0, "", StoreAwayError, "the store does not answer (NETWORK_CONNECTION"),
    ],
)
def test_a_question_about_one_file_is_refused(door, url, ask, status, code, kind, reason):
    """S3 answers to HEAD without a text; what it says to a listing is the reason."""
    door.faults = [Fault(status=status, code=code)]
    with pytest.raises(InputError) as caught:
        ask(url)
    assert isinstance(caught.value, kind)
    assert str(caught.value).startswith(f"Cannot read {url}: {reason}")


def test_a_file_that_may_be_listed_and_not_read(door, url):
    door.faults = [Fault(("HEAD",), status=403)]
    with pytest.raises(InputError) as caught:
        files.read_bytes(url)
    assert str(caught.value).startswith(f"Cannot read {url}: {DENIED}")


@pytest.mark.parametrize("key", ["a//b", "a/./b"])
def test_names_that_no_reader_reaches(s3, bucket, key):
    s3.put(f"{bucket}/{key}", b"x")
    (entry,) = files.list_files(bucket)
    with pytest.raises(InputError) as caught:
        files.read_bytes(entry.place)
    assert str(caught.value) == (
        f"Cannot read {bucket}/{key}: an object with an empty part, `.` or `..` in its name cannot "
        "be reached. Rename it."
    )


@pytest.mark.parametrize(
    "name",
    ["a b", "ä-日本", "100%", "a%20b", "a+b", "#1", "a?b", "[1]", "a*b", "a'b\"", "a\\b", " a "],
)
def test_odd_names_there_and_back(s3, bucket, tmp_path, name):
    (tmp_path / "a").write_bytes(b"content")
    copies.replace(tmp_path / "a", f"{bucket}/x/{name}")
    assert s3.keys(f"{bucket}/x") == [name]
    assert [entry.place for entry in files.list_files(bucket)] == [f"{bucket}/x/{name}"]
    assert files.look_at(f"{bucket}/x/{name}").size == 7
    copies.download(f"{bucket}/x/{name}", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    files.remove_files([f"{bucket}/x/{name}"])
    assert s3.keys(bucket) == []


def test_bodies_that_are_cut_off(door, url, tmp_path):
    door.faults = [Fault(("GET",), part="a/b", cut=3)]
    with pytest.raises(StoreAwayError, match="the store does not answer"):
        copies.download(url, tmp_path / "b")


def test_what_is_gone_since_it_was_listed(door, url, tmp_path):
    door.faults = [Fault(part="a/b", status=404, code="NoSuchKey")]
    with pytest.raises(MissingError, match="does not exist"):
        copies.download(url, tmp_path / "b")


def test_a_store_that_was_away_for_long_is_asked_as_often_as_before(door, url, monkeypatch):
    """A server asks for months: no budget of its process is used up by an outage."""
    monkeypatch.setattr(filesystems, "_RETRIES", 2)
    filesystems._s3.cache_clear()
    door.faults = [Fault(status=503, code="SlowDown")]

    def ask(_):
        with pytest.raises(StoreAwayError):
            files.list_files(url)

    with futures.ThreadPoolExecutor(10) as callers:  # Who waits beside others is done sooner.
        list(callers.map(ask, range(60)))  # The budget of the other strategy is used up after 50.
    assert door.faults[0].seen == 60 * 3
    door.faults = [Fault(status=503, code="SlowDown", times=2)]
    assert files.read_bytes(url) == b"content"


@pytest.mark.parametrize("fault", [{"status": 503, "code": "SlowDown"}, {}])
def test_writing_is_tried_again(s3, bucket, door, tmp_path, caplog, fault):
    (tmp_path / "a").write_bytes(b"content")
    for number, write in enumerate(
        (
            lambda url: copies.upload(tmp_path / "a", url),
            lambda url: copies.replace(tmp_path / "a", url),
            lambda url: files.write_bytes(url, b"content"),
        )
    ):
        caplog.clear()
        door.faults = [Fault(("PUT",), part="/x/", times=2, **fault)]
        write(f"{bucket}/x/{number}")
        assert s3.get(f"{bucket}/x/{number}") == b"content"
        assert "Trying again (3 of 3)." in caplog.text
        assert s3.keys(bucket) == [f"x/{n}" for n in range(number + 1)]


def test_a_refusal_is_not_tried_again(s3, bucket, door, tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    door.faults = [Fault(("PUT",), status=403, code="AccessDenied")]
    with pytest.raises(InputError, match="access denied"):
        copies.upload(tmp_path / "a", f"{bucket}/a")
    assert s3.keys(bucket) == []
