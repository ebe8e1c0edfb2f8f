"""Live items: nothing acknowledged is lost, nothing is ever answered wrongly."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from recall.config import RecallConfig
from serving.index.catalogue import NO_ROW
from tests.benchmarks.serving_release import draw_unit_vectors, write_release
from tests.reliability import item_writer
from tests.reliability.tally import scaled
from tests.serving.server_process import ROOT

pytestmark = pytest.mark.reliability

DIM = 32
CONFIG = RecallConfig().override(
    [f"model.dim={DIM}", "model.num_blocks=1", "index.kind=scann", "index.reorder=200"]
)
NUM_ITEMS = 3000


class Fact(NamedTuple):
    """What became of an item: its vector, None once it is deleted."""

    vector: np.ndarray | None
    sent_s: float
    acknowledged_s: float


class Truth:
    """Everything that was ever true of the items, by raw id; writers own disjoint items."""

    def __init__(self, item_vectors: np.ndarray):
        self._facts = {f"i{row}": [Fact(v, 0.0, 0.0)] for row, v in enumerate(item_vectors)}

    def begin(self, item_id: str, vector: np.ndarray | None) -> None:
        """A change is sent."""
        facts = self._facts.setdefault(item_id, [])
        facts.append(Fact(vector, time.monotonic(), np.inf))

    def end(self, item_id: str) -> None:
        """The change that was sent last is acknowledged."""
        facts = self._facts[item_id]
        facts[-1] = facts[-1]._replace(acknowledged_s=time.monotonic())

    def allows(self, item_id: str, score: float, query: np.ndarray, from_s: float) -> bool:
        """Whether a score is one the item had between `from_s` and now."""
        facts = list(self._facts.get(item_id, ()))
        before = [n for n, fact in enumerate(facts) if fact.acknowledged_s <= from_s]
        possible = facts[before[-1] if before else 0 :]
        return any(
            fact.vector is not None and abs(float(fact.vector @ query) - score) < 1e-4
            for fact in possible
        )


def _unit(generator) -> np.ndarray:
    vector = generator.standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def _text(item_id: str) -> np.ndarray:
    return np.array([item_id.encode()], dtype=object)


def _change(client, truth: Truth, item_id: str, vector: np.ndarray | None) -> None:
    truth.begin(item_id, vector)
    if vector is None:
        client.predict("items", "delete", {"item_ids": _text(item_id)})
    else:
        client.predict("items", "upsert", {"item_ids": _text(item_id), "vectors": vector[None]})
    truth.end(item_id)


def _write(client, truth: Truth, number: int, stop: threading.Event, recent: list) -> None:
    """New items, new vectors of old ones, deletions, and items that come back."""
    generator, choose = np.random.default_rng(number), random.Random(number)
    mine = [f"i{row}" for row in range(NUM_ITEMS) if row % 2 == number]
    step = 0
    while not stop.is_set():
        step += 1
        if choose.random() < 0.3:
            mine.append(f"n{number}-{step}")
            item_id = mine[-1]
        else:
            item_id = choose.choice(mine)
        vector = None if choose.random() < 0.3 else _unit(generator)
        _change(client, truth, item_id, vector)
        if vector is not None:
            recent[number] = vector


def _read(client, truth, number, stop, recent, queries, results) -> None:
    """Half of the queries are for what was just changed."""
    turn = number
    while not stop.is_set():
        turn += 1
        query = queries[turn % len(queries)] if turn % 2 else recent[turn // 2 % 2]
        from_s = time.monotonic()
        inputs = {"user_vectors": query.reshape(1, 1, DIM), "k": np.int32(100)}
        # One of the readers has no deadline.
        answer = client.predict("recall", "user_vectors", inputs, 60.0 if number else None)
        ids = [item_id.decode() for item_id in answer["item_ids"][0]]
        scores = answer["scores"][0].tolist()
        results["distinct"] &= len(set(ids)) == len(ids)
        for item_id, score in zip(ids, scores, strict=True):
            results["pairs"] += 1
            if not truth.allows(item_id, score, query, from_s):
                results["wrong"].append((item_id, score))


SMALL_REBUILDS = """
import logging
from serving.live import catalogue
logging.basicConfig(level=logging.INFO)
catalogue.MIN_REBUILD_CHANGES, catalogue.REBUILD_SHARE = 300, 0.0
"""


def test_reads_beside_changes_and_rebuilds(tmp_path, start_server, tally):
    """Every score is computed again from the vectors an item may have had."""
    seconds = scaled(60, at_least=8)
    item_vectors = write_release(tmp_path / "serving", 1, NUM_ITEMS, CONFIG)
    server = start_server(tmp_path / "serving", setup=SMALL_REBUILDS)
    truth, stop = Truth(item_vectors), threading.Event()
    queries = draw_unit_vectors(500, DIM, seed=5)
    recent = [queries[0], queries[1]]
    results = [{"pairs": 0, "wrong": [], "distinct": True} for _ in range(2)]
    with server.open_client() as client:
        threads = [
            threading.Thread(target=_write, args=(client, truth, n, stop, recent)) for n in (0, 1)
        ]
        threads += [
            threading.Thread(
                target=_read, args=(client, truth, n, stop, recent, queries, results[n])
            )
            for n in (0, 1)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        status = {k: int(v) for k, v in client.predict("items", "status", {}).items()}
    pairs = sum(result["pairs"] for result in results)
    wrong = [pair for result in results for pair in result["wrong"]]
    rebuilds = server.log.read_text().count("Rebuilt the index")
    tally.start(9, "reads beside upsert, delete, rebuild: right (id, score) pairs", pairs)
    tally.held = pairs - len(wrong)
    tally.note(f"{status['sequence']} changes, {rebuilds} rebuilds, {seconds} s")
    for pair in wrong[:3]:
        tally.note(f"failed: {pair}")
    assert all(result["distinct"] for result in results)
    assert rebuilds >= 1
    assert server.is_running


def _kill_a_writer(serving_dir: Path, name: str, seconds: float) -> dict[str, bool]:
    """What a killed process had acknowledged: item -> whether it must be there."""
    command = [sys.executable, "-m", "tests.reliability.item_writer", serving_dir, "3", name]
    writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = [writer.stdout.readline()]  # It has started.
    time.sleep(seconds)
    writer.kill()
    lines += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    writer.stdout.close()
    whole = [line.strip() for line in lines if line.endswith("\n")]
    return {line[1:]: line[0] == "+" for line in whole}


def _is_as_acknowledged(serving_dir: Path, acknowledged: dict[str, bool]) -> bool:
    """Compares a catalogue that is opened anew.

    An upsert of every third item may be followed by a deletion that was made
    and not acknowledged: then either is right.
    """
    items, catalogue = item_writer.open_items(serving_dir, 3)
    try:
        names = list(acknowledged)
        rows = catalogue.view().rows_of([name.encode() for name in names])
    finally:
        items.close()
    for name, row in zip(names, rows.tolist(), strict=True):
        may_be_deleted = int(name.rsplit("-", 1)[1]) % 3 == 0
        wanted = acknowledged[name]
        if (row != NO_ROW) != wanted and not (wanted and may_be_deleted):
            return False
    return True


def test_killed_amid_changes(release_folder, tally):
    kills, generator = scaled(100, at_least=3), random.Random(0)
    tally.start(10, "kill -9 amid changes: every acknowledged one is there", kills)
    everything = {}
    for number in range(kills):
        acknowledged = _kill_a_writer(
            release_folder.path, f"k{number}", generator.uniform(0.0, 0.6)
        )
        everything.update(acknowledged)
        tally.count(_is_as_acknowledged(release_folder.path, acknowledged), number)
    tally.note(f"{len(everything):,} items acknowledged")
    assert _is_as_acknowledged(release_folder.path, everything)


def test_servers_killed_amid_changes(tmp_path, start_server, tally):
    """The same through the door of whole servers."""
    kills = scaled(10, at_least=2)
    write_release(tmp_path / "serving", 1, NUM_ITEMS, CONFIG)
    tally.start(10, "kill -9 of a whole server: every acknowledged change is there", kills)
    present: set[str] = set()
    for number in range(kills):
        server = start_server(tmp_path / "serving")
        threads = [
            threading.Thread(target=_upsert_until_it_dies, args=(server, f"{number}-{n}", present))
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5 + 0.1 * (number % 5))
        server.kill()
        for thread in threads:
            thread.join()
        again = start_server(tmp_path / "serving")
        with again.open_client() as client:
            query = np.ones((1, 1, DIM), np.float32)
            inputs = {"user_vectors": query, "k": np.int32(1000), "exact": np.array(True)}
            found = _all_of(client, inputs, sorted(present))
        again.kill()
        tally.count(bool(present) and present <= found, number)
    tally.note(f"{len(present):,} changes")


def _all_of(client, inputs, item_ids) -> set[str]:
    """Those of the items that the catalogue has, asked for in parts of 1000."""
    found: set[str] = set()
    for start in range(0, len(item_ids), 1000):
        part = [item_id.encode() for item_id in item_ids[start : start + 1000]]
        allow = np.array([part], dtype=object)
        answer = client.predict("recall", "user_vectors", {**inputs, "allow_item_ids": allow})
        found |= {item_id.decode() for item_id in answer["item_ids"][0] if item_id}
    return found


def _upsert_until_it_dies(server, name: str, present: set[str]) -> None:
    generator = np.random.default_rng()
    with server.open_client() as client:
        for step in range(100_000):
            item_id = f"{name}-{step}"
            inputs = {"item_ids": _text(item_id), "vectors": _unit(generator)[None]}
            try:
                client.predict("items", "upsert", inputs, timeout_s=10)
            except grpc.RpcError:
                return
            present.add(item_id)
