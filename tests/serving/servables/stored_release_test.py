"""A server of a release in a real S3 server: what it serves, keeps, fetches and survives."""

import time

import pytest

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.models.model_server import State
from serving.release import release, store_publish
from serving.server import RecallServer
from tests.s3_faults import Fault
from tests.serving import store_release
from tests.waiting import wait_for

POLL_S = 0.05


@pytest.fixture
def publish(bucket, staged_releases):
    """Publishes catalogue 0 or 1 under a number; `publish.url` is the folder in the store."""

    def publish(version: int, catalogue: int) -> None:
        folder, _ = staged_releases[catalogue]
        store_release.publish(folder, 3, publish.url, as_version=version)

    publish.url = f"{bucket}/serving"
    publish(7, 0)
    return publish


@pytest.fixture
def serve(publish, tmp_path, monkeypatch):
    """Starts a server of the store; it ends with the test."""
    monkeypatch.setattr("serving.stores.attempts.PAUSE_S", 0.0)
    monkeypatch.setattr("serving.models.loader._FIRST_RETRY_S", 0.05)
    servers = []

    def start(**options):
        options = {"poll_s": POLL_S, "release_cache": tmp_path / "cache", **options}
        server = RecallServer(publish.url, grpc_port=0, http_port=0, **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def check(staged_releases):
    """Asks a server; the version that answered, which must answer as its catalogue does."""

    def check(server, catalogue: int) -> int:
        answer = client.query(server.grpc_address, RecallRequest(("i3", "i7"), k=10), timeout_s=30)
        expected = staged_releases[catalogue][1].expected(["i3", "i7"], 10, removed=("i3", "i7"))
        assert [(item.item_id, item.interest) for item in answer.items] == expected
        return answer.index_version

    return check


def _states(server):
    return server.model_server.states()["recall"]


@pytest.mark.slow
def test_versions_are_followed_and_old_copies_go(serve, publish, check, tmp_path):
    server = serve()
    assert check(server, 0) == 7
    for version in (8, 9, 10):
        publish(version, version % 2)
        wait_for(lambda wanted=version: _states(server).get(wanted) == State.AVAILABLE)
        assert check(server, version % 2) == version
    wait_for(lambda: _states(server)[9] == State.END)
    assert release.complete_versions(tmp_path / "cache") == [9, 10]


@pytest.mark.slow
def test_half_a_publication_is_not_served(s3, serve, publish, check):
    server = serve()
    publish(8, 1)
    pointer = s3.get(f"{publish.url}/versions/8.json")
    s3.delete(f"{publish.url}/versions/8.json")  # As before the last write.
    wait_for(lambda: _states(server).get(8) in (None, State.END))
    if 8 in _states(server):  # It was quicker than the test.
        return
    assert check(server, 0) == 7
    s3.put(f"{publish.url}/versions/8.json", pointer)
    wait_for(lambda: _states(server).get(8) == State.AVAILABLE)


@pytest.mark.parametrize(
    "damage",
    ["truncated", *(pytest.param(d, marks=pytest.mark.slow) for d in ("changed", "missing"))],
)
def test_a_damaged_version_is_refused_until_it_is_whole(s3, serve, publish, check, damage):
    server = serve()
    url = f"{publish.url}/index/8/item_vectors.npy"
    with pytest.MonkeyPatch.context() as patch:
        write = store_publish.files.write_bytes

        def write_after_damage(place, content):
            if place.endswith("/8.json"):
                good = s3.get(url)
                write_after_damage.good = good
                s3.put(url, good[:200] if damage == "truncated" else good[:-1] + b"?")
                if damage == "missing":
                    s3.delete(url)
            write(place, content)

        patch.setattr(store_publish.files, "write_bytes", write_after_damage)
        publish(8, 1)
    wait_for(lambda: _states(server).get(8) == State.END)
    message = server.model_server.status("recall", 8)[0].message
    assert url in message
    assert ("does not exist" if damage == "missing" else "is damaged") in message
    assert check(server, 0) == 7
    time.sleep(1.1)  # Times of S3 are whole seconds, and the size is the same.
    s3.put(url, write_after_damage.good)
    wait_for(lambda: _states(server).get(8) == State.AVAILABLE)
    assert check(server, 1) == 8


def test_a_store_that_goes_away(s3, serve, publish, check, monkeypatch, caplog):
    monkeypatch.setattr("serving.stores.filesystems._RETRIES", 0)
    server = serve()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    wait_for(lambda: "What is served stays." in caplog.text)
    assert check(server, 0) == 7
    restarted = serve()  # From the copies.
    assert check(restarted, 0) == 7
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    publish(8, 1)
    for each in (server, restarted):
        wait_for(lambda each=each: _states(each).get(8) == State.AVAILABLE)
        assert check(each, 1) == 8
    told = [text for text in caplog.messages if "What is served stays." in text]
    assert len(told) == 2  # Once for each server.


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(part="prefix=", status=503, code="SlowDown"), "the store does not answer"),
        (Fault(part="prefix=", status=403, code="AccessDenied"), "access denied."),
        (Fault(part="prefix=", status=404, code="NoSuchBucket"), "there is no bucket"),
        (Fault(part="versions/7.json", status=403, code="AccessDenied"), "access denied."),
        (Fault(part="index/7", status=403, code="AccessDenied"), "access denied."),
        (Fault(part="index/7", status=404, code="NoSuchKey"), "does not exist"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(serve, door, tmp_path, fault, reason):
    door.faults = [fault]
    with pytest.raises(InputError) as caught:
        serve()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert release.complete_versions(tmp_path / "cache") == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(part="index/7", status=503, code="SlowDown", times=1),
        Fault(part="index/7", times=2),
        Fault(("GET",), part="index/7", cut=9, times=2),
        Fault(("GET",), part="versions/7.json", cut=9, times=1),
        Fault(part="user_tower/7", delay_s=0.3, times=3),
    ],
)
def test_a_start_that_meets_a_moment_s_fault(serve, check, door, fault):
    door.faults = [fault]
    server = serve()
    assert check(server, 0) == 7
    assert fault.seen > 1


def test_a_new_version_that_may_not_be_read_yet(serve, publish, check, door):
    """It is refused with the reason, and the old one goes on; then it is served."""
    server = serve()
    door.faults = [Fault(("GET",), part="index/8", status=403, code="AccessDenied")]
    publish(8, 1)
    wait_for(lambda: _states(server).get(8) == State.END)
    assert "access denied." in server.model_server.status("recall", 8)[0].message
    assert check(server, 0) == 7
    door.faults = []
    publish(9, 1)
    wait_for(lambda: _states(server).get(9) == State.AVAILABLE)
    assert check(server, 1) == 9


@pytest.mark.slow
def test_a_damaged_copy_is_fetched_again(serve, check, tmp_path):
    serve().stop()
    path = tmp_path / "cache" / "index" / "7" / "item_vectors.npy"
    path.write_bytes(path.read_bytes()[:100])
    assert check(serve(), 0) == 7


@pytest.mark.slow
def test_a_version_that_is_withdrawn(s3, serve, publish, check):
    publish(8, 1)
    server = serve()
    assert check(server, 1) == 8
    s3.delete(f"{publish.url}/versions/8.json")
    wait_for(lambda: _states(server).get(7) == State.AVAILABLE)
    wait_for(lambda: _states(server)[8] == State.END)
    assert check(server, 0) == 7


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("{bucket}/none", "{bucket}/none holds no release: there is no pointer in versions/. Run "),
        ("s3://none-here/serving", "there is no bucket 'none-here'"),
        ("s3:///serving", "names no bucket"),
    ],
)
def test_nothing_to_serve(s3, bucket, tmp_path, url, error):
    with pytest.raises(InputError) as caught:
        RecallServer(
            url.format(bucket=bucket), grpc_port=0, http_port=0, release_cache=tmp_path / "cache"
        )
    assert error.format(bucket=bucket) in str(caught.value)
