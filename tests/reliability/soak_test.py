"""The soak: clients of every kind beside swaps and changes for a long time; `make soak`.

`SOAK_MINUTES=1` makes it short, `SOAK_JSON=FILE` also writes the table as JSON. Memory,
threads and descriptors of the server must be level: a leak of one swap or of one
request shows only after many.
"""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipelines.publishing.index_choice import tune_index
from recall.config import IndexConfig
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import build_index
from serving.models.servable import State
from serving.release import storage
from tests.reliability.soak_clients import SoakClient, build_clients
from tests.reliability.soak_world import World
from tests.serving.conftest import ReleaseFolder, TinyCatalogue, write_release
from tests.serving.server_process import ServerProcess

pytestmark = pytest.mark.soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))

NUM_SWAPS = max(6, round(50 * MINUTES / 30))
"""50 in half an hour; more often than that no release is published anywhere."""

NUM_ITEMS, DIM = 3000, 16
_KEEP = 2
"""Newest versions that stay in the folder."""

_SAMPLE_S = 0.5
_NUM_PARTS = 5

MEMORY_GROWTH = 1.05 if MINUTES >= 10 else 1.15
"""Mean memory of the last fifth over that of the second. In a short run the second fifth is
part of the warm-up: it begins before the first swap has ended."""

_COUNT_GROWTH = 2.0
"""Threads and descriptors: as `MEMORY_GROWTH`, but in numbers. Clients that connect anew and a
swap that is just going on move the mean of a fifth by less."""

_SETUP = """
import logging
from serving.live import catalogue
logging.basicConfig(level=logging.INFO)
catalogue.MIN_REBUILD_CHANGES, catalogue.REBUILD_SHARE = 600, 0.0
"""
"""The index is rebuilt out of the live items about once a minute."""


class Sample(NamedTuple):
    """The server at one moment."""

    memory_mb: float
    threads: float
    descriptors: float


class _Sampler:
    """Looks at the server at fixed times, from a thread."""

    def __init__(self, server: ServerProcess):
        self.samples: list[Sample] = []
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_S) and self._server.is_running:
            server = self._server
            self.samples.append(
                Sample(server.resident_mb(), server.num_threads(), server.num_descriptors())
            )

    def parts(self) -> list[Sample]:
        """Means of the fifths of the run, in their order."""
        return [Sample(*np.mean(p, axis=0)) for p in np.array_split(self.samples, _NUM_PARTS)]


@pytest.fixture
def soak_folder(tmp_path) -> ReleaseFolder:
    """Two releases with ScaNN and categories, of which version 3 is published."""
    staged = []
    for seed in (1, 2):
        catalogue = TinyCatalogue(seed, NUM_ITEMS, DIM)
        config = IndexConfig(kind="scann", reorder=200)
        index = build_index(catalogue.item_vectors, config, "cosine")
        exact, queries = ExactIndex(catalogue.item_vectors), catalogue.item_vectors[::6]
        index = tune_index(index, exact, queries, config).index
        write_release(tmp_path / f"staged-{seed}", catalogue, 3, index)
        staged.append((tmp_path / f"staged-{seed}", catalogue))
    folder = ReleaseFolder(tmp_path / "serving", staged)
    folder.publish(3, 1)
    return folder


def _swap_until(folder: ReleaseFolder, server: ServerProcess, seconds: float) -> int:
    """Publishes versions at even times; returns the newest one."""
    end_s, version = time.monotonic() + seconds, 3
    with server.open_client() as client:
        for swap in range(NUM_SWAPS):
            due_s = end_s - seconds * (1 - (swap + 0.5) / NUM_SWAPS)
            time.sleep(max(0.0, due_s - time.monotonic()))
            version += 1
            folder.publish(version, version % 2)
            client.wait_for_state(version, State.AVAILABLE)
            if version - _KEEP >= 3:
                folder.withdraw(version - _KEEP)
        time.sleep(max(0.0, end_s - time.monotonic()))
    return version


def _report(clients: list[SoakClient], sampler: _Sampler, server: ServerProcess) -> dict[str, Any]:
    """The table of the soak as plain values."""
    parts = sampler.parts()
    return {
        "minutes": MINUTES,
        "swaps": NUM_SWAPS,
        "rebuilds": server.log.read_text().count("Rebuilt the index"),
        "requests": sum(client.num_done for client in clients),
        "errors": sum(client.faults.total() for client in clients),
        "clients": {
            client.name: {
                "requests": client.num_done,
                "slowest_ms": round(1e3 * client.slowest_s),
                "recall": round(float(np.mean(client.found)), 4) if client.found else None,
                "errors": dict(client.faults.most_common(5)),
            }
            for client in clients
        },
        "fifths": {
            name: [round(float(getattr(part, name)), 1) for part in parts]
            for name in Sample._fields
        },
        "last_over_second": {
            name: round(float(getattr(parts[-1], name) / getattr(parts[1], name)), 4)
            for name in Sample._fields
        },
    }


def _show(report: dict[str, Any]) -> None:
    """Prints the table, and then the JSON in one line."""
    print(
        f"\nsoak: {report['minutes']:g} min, {report['swaps']} swaps, {report['rebuilds']} "
        f"rebuilds, {report['requests']:,} requests, {report['errors']} errors"
    )
    for name, facts in report["clients"].items():
        recall = "" if facts["recall"] is None else f", recall {facts['recall']:.4f}"
        errors = f", errors {facts['errors']}" if facts["errors"] else ""
        print(
            f"  {name:32} {facts['requests']:>9,} requests, slowest {facts['slowest_ms']} ms"
            f"{recall}{errors}"
        )
    for name, values in report["fifths"].items():
        ratio = report["last_over_second"][name]
        print(f"  {name:12} by fifths {values}, last / second {ratio}")
    print(json.dumps(report))
    if path := os.environ.get("SOAK_JSON"):
        storage.write_json(Path(path), report)


def test_soak(soak_folder, start_server):
    """No error, no wrong answer, and a server as large at the end as after its warm-up."""
    catalogues = (soak_folder.staged_catalogue(0), soak_folder.staged_catalogue(1))
    server = start_server(soak_folder.path, setup=_SETUP, options={"poll_s": 0.1})
    clients = build_clients(server, World(catalogues))
    with _Sampler(server) as sampler:
        for client in clients:
            client.start()
        newest = _swap_until(soak_folder, server, 60 * MINUTES)
        for client in clients:
            client.stop()
        for client in clients:
            client.join(timeout_s=60.0)
    report = _report(clients, sampler, server)
    _show(report)
    log = server.log.read_text()
    assert report["errors"] == 0
    assert newest == 3 + NUM_SWAPS
    assert "Traceback" not in log
    assert server.is_running
    assert all(client.num_done > 60 * MINUTES for client in clients)
    assert all(np.mean(client.found) >= 0.95 for client in clients if client.found)
    second, last = sampler.parts()[1], sampler.parts()[-1]
    assert last.memory_mb <= MEMORY_GROWTH * second.memory_mb
    assert last.threads <= second.threads + _COUNT_GROWTH
    assert last.descriptors <= second.descriptors + _COUNT_GROWTH
