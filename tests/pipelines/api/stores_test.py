"""Releases in a real S3 server from Python: published, loaded, served."""

import pytest

import recall
from tests.s3_faults import Fault


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def expected(fitted):
    return fitted.recommend(histories=[["1", "2"]], k=5).item_id.tolist()


def test_published_and_loaded(fitted, expected, bucket):
    version = fitted.publish(f"{bucket}/shop/serving")
    for place in (f"{bucket}/shop/serving", f"{bucket}/shop"):  # As a run has it in a store.
        loaded = recall.load(place)
        assert loaded.version == version
    assert loaded.recommend(histories=[["1", "2"]], k=5).item_id.tolist() == expected


@pytest.mark.slow
def test_served(fitted, expected, bucket):
    version = fitted.publish(f"{bucket}/shop/serving")
    with recall.serve(f"{bucket}/shop") as server, server.client() as client:
        answer = client.recommend(["1", "2"], k=5)
        assert [item.item_id for item in answer.items] == expected
        assert answer.index_version == version


def test_errors(fitted, events, s3, bucket):
    with pytest.raises(recall.InputError, match=rf"{bucket}/none holds no release\. Run"):
        recall.load(f"{bucket}/none")
    with pytest.raises(recall.InputError, match="there is no bucket 'none-here'"):
        fitted.publish("s3://none-here/serving")
    with pytest.raises(recall.InputError, match=r"`output` must be on this machine, received s3:"):
        recall.fit(events, output=f"{bucket}/run")
    with pytest.raises(recall.InputError, match="names no bucket"):
        recall.serve("s3:///x")


def test_a_store_that_refuses(fitted, expected, bucket, door):
    """One line each time; what is there a moment later is loaded."""
    fitted.publish(f"{bucket}/serving")
    for fault, reason in (
        (Fault(part="prefix=", status=403, code="AccessDenied"), "access denied."),
        (Fault(part="index/", status=503, code="SlowDown"), "the store does not answer"),
        (Fault(("GET",), part="user_tower/", cut=9), "the store does not answer"),
    ):
        door.faults = [fault]
        with pytest.raises(recall.InputError, match=reason) as caught:
            recall.load(f"{bucket}/serving")
        assert "\n" not in str(caught.value)
    door.faults = [Fault(("GET",), part="user_tower/", cut=9, times=2)]
    loaded = recall.load(f"{bucket}/serving")
    assert loaded.recommend(histories=[["1", "2"]], k=5).item_id.tolist() == expected
