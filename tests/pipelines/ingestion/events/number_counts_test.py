"""Numbers are counted, added up and taken away; too many different ones become fewer."""

import numpy as np
import pytest

from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import number_counts
from pipelines.ingestion.events.number_counts import NO_NUMBERS, NumberCounts


def of(*values):
    return NumberCounts.of(np.array(values, np.float32))


def show(counted):
    return dict(zip(counted.numbers.tolist(), counted.counts.tolist(), strict=True))


def test_what_is_added_can_be_taken_away():
    one, other = of(1, 2, 2, np.nan), of(2, 5, np.inf)
    both = one.add(other)
    assert show(both) == {1: 1, 2: 3, 5: 1}
    assert show(both.add(one, -1)) == {2: 1, 5: 1}
    assert show(both.add(both, -1)) == show(NO_NUMBERS) == {}


@pytest.mark.parametrize("values", [(), (0.5, -1.5, 0.5)])
def test_files(tmp_path, values):
    of(*values).write(ShardFiles(tmp_path), "x", 3)
    read = NumberCounts.read(ShardFiles(tmp_path), "x", 3)
    assert show(read) == show(of(*values))
    assert read.dropped_bits == 0


def test_too_many_are_bounded_and_can_still_be_taken_away(monkeypatch):
    monkeypatch.setattr(number_counts, "MOST_NUMBERS", 500)
    rng = np.random.default_rng(1)
    numbers = rng.uniform(1, 100, 6000).astype(np.float32)
    parts = [NumberCounts.of(part) for part in np.split(numbers, [3000])]
    both = parts[0].add(parts[1])
    assert both.counts.sum() == 6000
    assert len(both.numbers) <= 500
    assert both.dropped_bits in (12, 16, 20)
    # 23 bits stand behind the point: the rest is how far a number may be from itself.
    nearest = both.numbers[np.searchsorted(both.numbers, numbers, side="right") - 1]
    assert np.all(numbers - nearest < numbers * 2.0 ** (both.dropped_bits - 23))
    left = both.add(NumberCounts.of(numbers[:3000]), -1)
    assert left.counts.sum() == 3000
    assert left.counts.min() > 0
    assert show(left) == show(parts[1].add(left._replace(counts=0 * left.counts)))
