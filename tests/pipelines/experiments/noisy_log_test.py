"""Noise in a log: how much, where, and what stays."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.experiments import noisy_log
from pipelines.ingestion.open_log import open_events
from pipelines.ingestion.sequences import Part
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

OFFSETS = np.array([0, 6, 12])
ITEMS = np.array([0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0])
PARTS = np.tile([Part.TRAIN] * 4 + [Part.VALID, Part.TEST], 2)


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_so_many_training_events_are_replaced(share, number):
    replaced, chosen = noisy_log.replace(ITEMS, OFFSETS, PARTS, share, seed=3)
    assert chosen == number
    # Fewer may have changed: a random item can be the one that was there.
    assert (replaced != ITEMS).sum() <= number
    assert (replaced[PARTS != Part.TRAIN] == ITEMS[PARTS != Part.TRAIN]).all()


def test_more_noise_holds_the_noise_before():
    some, _ = noisy_log.replace(ITEMS, OFFSETS, PARTS, 0.5, seed=3)
    more, _ = noisy_log.replace(ITEMS, OFFSETS, PARTS, 0.75, seed=3)
    changed = some != ITEMS
    assert changed.any()
    assert (more[changed] == some[changed]).all()


def test_no_user_gets_what_is_held_out_of_her():
    for seed in range(20):
        replaced, _ = noisy_log.replace(ITEMS, OFFSETS, PARTS, 1.0, seed=seed)
        assert not {4, 5} & {*replaced[:4]}
        assert not {0, 1} & {*replaced[6:10]}


def test_random_items_are_as_likely_as_each_other():
    """One long user: 40,000 draws of the four items that she has not held out."""
    items = np.concatenate([np.zeros(40_000, int), [0, 1, 2, 3, 4, 5]])
    parts = np.array([Part.TRAIN] * 40_004 + [Part.VALID, Part.TEST])
    replaced, _ = noisy_log.replace(items, np.array([0, len(items)]), parts, 1.0, seed=1)
    counts = np.bincount(replaced[:40_004], minlength=6)
    assert counts[4:].tolist() == [0, 0]
    # Six standard deviations of a count around 10,001.
    assert np.abs(counts[:4] - 10_001).max() < 6 * np.sqrt(10_001 * 0.75)


def test_a_log_is_written_with_its_split(tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"u{u},i{(3 * u + t) % 7},{t}" for t in range(12) for u in range(3)]
    log.write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    path, config = tmp_path / "noisy.parquet", IngestConfig(protocol="next_n", num_targets=2)
    assert noisy_log.write(open_events(str(log)), path, 0.5, config, seed=1) == 12
    table = pq.read_table(path).to_pylist()
    for user in ("u0", "u1", "u2"):
        own = sorted((row for row in table if row["user_id"] == user), key=lambda r: r["timestamp"])
        assert [row["split"] for row in own] == ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
        held_out = [row["item_id"] for row in own[8:]]
        number = int(user[1:])
        assert held_out == [f"i{(3 * number + t) % 7}" for t in range(8, 12)]


def test_another_protocol_is_refused(tmp_path):
    source = open_events("synthetic:users=5,items=9,interests=3")
    with pytest.raises(InputError, match="leave_one_out or next_n, received temporal"):
        noisy_log.write(source, tmp_path / "x", 0.1, IngestConfig(protocol="temporal"), seed=1)
