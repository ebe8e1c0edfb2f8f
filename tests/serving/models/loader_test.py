import types
from typing import ClassVar

import pytest

from recall.errors import InputError
from serving.models.loader import VersionLoader
from serving.models.model_server import ModelServer, State
from serving.models.servable import LoadLaterError
from serving.models.version_policy import ALL_VERSIONS, LATEST, VersionPolicy, specific_versions
from serving.monitoring.metrics import Metrics
from serving.protocol.status import Code, ServingError


class Model:
    signature_defs: ClassVar = {}

    def __init__(self, name, version, error):
        self.name, self.version, self.error = name, version, error

    def warm_up(self):
        if self.error is not None:
            raise self.error


class Loaded:
    def __init__(self, servables, closed, asks_others):
        self.servables = servables
        self.asks_others = asks_others
        self._closed = closed

    def close(self):
        self._closed.append(next(iter(self.servables.values())).version)


class Source:
    """Versions in memory; `broken` maps a version to what its warm-up raises."""

    names = ("a", "b")
    asks_others = False

    def __init__(self, *versions):
        self.present = set(versions)
        self.broken, self.stamps = {}, {}
        self.loads, self.closed = [], []

    def versions(self):
        return sorted(self.present)

    def stamp(self, version):
        return self.stamps.get(version, 0)

    def load(self, version):
        self.loads.append(version)
        error = self.broken.get(version)
        models = {name: Model(name, version, error if name == "b" else None) for name in self.names}
        return Loaded(models, self.closed, self.asks_others)


@pytest.fixture
def source():
    return Source(3)


@pytest.fixture
def server():
    return ModelServer()


@pytest.fixture
def loader(server, source):
    return VersionLoader(server, source, Metrics(), newest_labels=("newest",))


@pytest.fixture
def now(monkeypatch):
    """The loader's clock, in a list of one."""
    now = [100.0]
    # The module's own name alone: a clock moved for all would stop the event loops of the
    # servers that other tests share.
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("serving.models.loader.time", clock)
    return now


def _states(server):
    states = server.states()
    assert states["a"] == states["b"]  # they only change together
    return states["a"]


def test_the_new_version_is_available_before_the_old_one_goes(loader, server, source):
    loader.refresh()
    assert server.find("a", label="newest").version == 3
    source.present.add(4)
    order = []
    record = server._set_state

    def record_state(names, version, state, **others):
        order.append((version, state))
        record(names, version, state, **others)

    server._set_state = record_state
    loader.refresh()
    assert order == [
        (4, State.LOADING),
        (4, State.AVAILABLE),
        (3, State.UNLOADING),
        (3, State.END),
    ]
    assert source.closed == [3]
    assert server.find("b").version == server.find("a", label="newest").version == 4


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (LATEST, [12]),
        (VersionPolicy(num_latest=2), [4, 12]),
        (ALL_VERSIONS, [3, 4, 12]),
        (specific_versions([3, 12, 99]), [3, 12]),
    ],
)
def test_policies(server, policy, served):
    loader = VersionLoader(server, Source(3, 4, 12), Metrics(), policy=policy)
    loader.refresh()
    assert loader.versions == served


def test_rollback_to_a_specific_version(loader, server, source):
    source.present.add(4)
    loader.refresh()
    assert loader.load_beside(specific_versions([3])) == {3}
    assert _states(server) == {4: State.AVAILABLE, 3: State.AVAILABLE}
    loader.serve(specific_versions([3]), {}, {3})
    assert server.find("a", label="newest").version == 3
    loader.unload_all_but({3})
    assert _states(server) == {4: State.END, 3: State.AVAILABLE}
    loader.refresh()
    assert source.loads == [4, 3]


def test_what_was_loaded_for_a_policy_that_is_not_taken_goes(loader, server, source):
    source.present.add(4)
    loader.refresh()
    loader.load_beside(ALL_VERSIONS)
    loader.refresh()
    assert _states(server) == {4: State.AVAILABLE, 3: State.END}


def test_labels_name_the_new_version_before_the_old_one_goes(loader, server, source):
    loader.refresh()
    source.present.add(4)
    found = []
    unload = server.unload

    def unload_and_look(names, version, **options):
        found.extend(server.find(name, label="newest").version for name in names)
        unload(names, version, **options)

    server.unload = unload_and_look
    loader.refresh()
    assert found == [4, 4]
    assert source.closed == [3]


def test_a_version_that_fails_ends_and_the_old_one_goes_on(loader, server, source):
    loader.refresh()
    source.present.add(4)
    source.broken[4] = InputError("warm-up failed")
    loader.refresh()
    assert _states(server) == {3: State.AVAILABLE, 4: State.END}
    assert server.status("a", 4) == [(4, State.END, Code.UNKNOWN, "warm-up failed")]
    assert source.closed == [4]
    assert server.find("a", label="newest").version == 3


def test_a_failed_version_is_tried_again_only_when_its_files_change(loader, server, source):
    source.present.add(4)
    source.broken[4] = ServingError(Code.DATA_LOSS, "broken")
    for _ in range(5):
        loader.refresh()
    assert source.loads == [4, 3]
    del source.broken[4]
    source.stamps[4] = 1
    loader.refresh()
    assert source.loads == [4, 3, 4]
    assert loader.versions == [4]


def test_a_version_that_waits_for_another_process_is_tried_again(loader, source, now):
    loader.refresh()
    source.present.add(4)
    source.broken[4] = LoadLaterError("not yet")
    tries = []
    for second in range(10):
        now[0] = 100.0 + second
        loader.refresh()
        tries.append(source.loads.count(4))
    assert tries == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4]  # after 1, 2 and 4 more seconds
    source.broken.clear()
    now[0] = 200.0
    loader.refresh()
    assert loader.versions == [4]


@pytest.mark.parametrize(
    ("code", "asks_others", "is_tried_again"),
    [
        (Code.UNAVAILABLE, True, True),
        (Code.RESOURCE_EXHAUSTED, True, True),
        (Code.DEADLINE_EXCEEDED, True, True),
        (Code.FAILED_PRECONDITION, True, False),
        (Code.UNAVAILABLE, False, False),
    ],
)
def test_a_warm_up_that_met_no_other_process_is_tried_again(
    loader, source, now, code, asks_others, is_tried_again
):
    source.asks_others = asks_others
    source.broken[3] = ServingError(code, "not now")
    loader.refresh()
    source.broken.clear()
    now[0] += 0.9
    loader.refresh()
    assert source.loads == [3]
    now[0] += 0.2
    loader.refresh()
    assert loader.versions == ([3] if is_tried_again else [])


def test_a_version_that_changes_all_the_time_does_not_hold_up_the_others(loader, source):
    source.present.add(4)
    source.broken[4] = InputError("half of it is copied")
    looks = []

    def stamp(version):
        looks.append(version)
        assert len(looks) < 20
        return len(looks)

    source.stamp = stamp
    loader.refresh()
    assert source.loads == [4, 3]
    loader.refresh()
    assert source.loads == [4, 3, 4]


def test_at_the_start_an_older_version_stands_in_for_a_broken_one(loader, source):
    source.present.add(4)
    source.broken[4] = InputError("damaged")
    loader.refresh()
    assert loader.versions == [3]
    assert str(loader.newest_error()) == "damaged"


def test_an_empty_folder_does_not_end_the_service(loader, server, source):
    loader.refresh()
    source.present.clear()
    loader.refresh()
    assert _states(server) == {3: State.AVAILABLE}


def test_labels_of_versions_that_go_are_gone(loader, server, source):
    source.present.add(4)
    loader.serve(ALL_VERSIONS, {"stable": 3}, loader.load_beside(ALL_VERSIONS))
    assert server.find("b", label="stable").version == 3
    loader.serve(LATEST, {"stable": 3}, loader.load_beside(LATEST))
    with pytest.raises(ServingError, match="Unrecognized servable version label: stable"):
        server.find("b", label="stable")


def test_the_memory_of_a_failed_load_is_not_held(loader, source):
    source.broken[3] = InputError("damaged")
    loader.refresh()
    error = loader.newest_error()
    assert error.__traceback__ is None
    assert error.__context__ is None


def test_close_ends_everything(loader, server, source):
    loader.refresh()
    loader.close(timeout_s=1.0)
    assert source.closed == [3]
    assert _states(server) == {3: State.END}


def test_a_folder_that_goes_while_it_is_looked_at_ends_nothing(loader, server, source):
    """A failed version is removed between the listing of versions and a look at it."""
    loader.refresh()
    source.present.add(4)
    source.broken[4] = InputError("damaged")
    loader.refresh()
    looks = []

    def stamp(version):
        looks.append(version)
        return 0 if len(looks) == 1 else None  # Gone after the first look.

    source.stamp = stamp
    loader.refresh()
    assert _states(server) == {3: State.AVAILABLE, 4: State.END}
