"""Rows of sequences: every click once, nothing beside it but padding, always the same shapes."""

import numpy as np
import pytest

from pipelines.training import packing
from pipelines.training.packing import PackedShape, choose_shape, pack_epoch
from recall.ragged import Ragged

SHAPE = PackedShape(num_calls=1, num_steps=1, num_rows=2, width=6, max_sequences=4)


@pytest.fixture
def in_order(monkeypatch):
    """Sequences in the order they are given, instead of a random one."""
    monkeypatch.setattr(packing, "_order", lambda size, *args, **kwargs: np.arange(size))


def draw(num_sequences, longest, seed=0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(2, longest + 1, num_sequences)
    # Ids that occur once: a sequence can be told by its first.
    ids = 2 + np.arange(lengths.sum())
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]


def unpack(fields):
    """The sequences of one step, read slot by slot, and their futures."""
    sequences, futures = [], []
    for row in range(len(fields["history_ids"])):
        history, positive, future, first = (
            fields[name][row].tolist()
            for name in ("history_ids", "positive_ids", "future_ids", "first_slots")
        )
        for slot, start in enumerate(first):
            if history[slot] == 0:
                assert positive[slot] == future[slot] == 0
                assert start == slot
            elif start == slot:
                sequences.append([history[slot], positive[slot]])
                futures.append([future[slot]])
            else:
                assert history[slot] == sequences[-1][-1]  # The last target is the next input.
                sequences[-1].append(positive[slot])
                futures[-1].append(future[slot])
    return sequences, futures


def test_a_step_by_hand(in_order):
    sequences = Ragged.from_rows([[11, 12, 13], [21, 22, 23, 24, 25], [31, 32], [41, 42, 43]])

    (fields,) = pack_epoch(sequences, SHAPE, seed=1, epoch=0)

    assert {name: values[0].tolist() for name, values in fields.items()} == {
        # Two and four slots fill the first row, one and two slots half of the second.
        "history_ids": [[11, 12, 21, 22, 23, 24], [31, 41, 42, 0, 0, 0]],
        "positive_ids": [[12, 13, 22, 23, 24, 25], [32, 42, 43, 0, 0, 0]],
        "future_ids": [[13, 12, 25, 24, 23, 22], [32, 43, 42, 0, 0, 0]],
        "first_slots": [[0, 0, 2, 2, 2, 2], [0, 1, 1, 3, 4, 5]],
        "starts": [0, 2, 6, 7],
        "lengths": [2, 4, 1, 2],
    }


def test_sequences_beyond_the_bound_are_in_the_rows_alone(in_order):
    sequences = Ragged.from_rows([[11, 12], [21, 22], [31, 32]])

    (fields,) = pack_epoch(sequences, SHAPE._replace(max_sequences=2), seed=1, epoch=0)

    assert fields["lengths"].tolist() == [[1, 1]]
    assert unpack({name: values[0] for name, values in fields.items()})[0] == [
        [11, 12],
        [21, 22],
        [31, 32],
    ]


@pytest.mark.parametrize(("num_sequences", "longest"), [(1, 2), (3, 51), (400, 9), (2000, 51)])
@pytest.mark.parametrize("batch_slots", [1, 64, 4096])
def test_an_epoch_has_every_sequence_once_in_batches_of_one_shape(
    num_sequences, longest, batch_slots
):
    rows = draw(num_sequences, longest)
    sequences = Ragged.from_rows(rows)
    shape = choose_shape(sequences, batch_slots, max_slots=50, seed=3)

    orders = []
    for epoch in (0, 1, 7):
        calls = list(pack_epoch(sequences, shape, seed=3, epoch=epoch))
        assert len(calls) == shape.num_calls
        found, spans = [], 0
        for fields in calls:
            slots = (shape.num_steps, shape.num_rows, shape.width)
            assert {values.shape for values in list(fields.values())[:4]} == {slots}
            assert fields["starts"].shape == (shape.num_steps, shape.max_sequences)
            assert {values.dtype for values in fields.values()} == {np.dtype(np.int32)}
            for step in range(shape.num_steps):
                here, futures = unpack({name: values[step] for name, values in fields.items()})
                found += here
                assert futures == [sequence[:0:-1] for sequence in here]
                lengths = fields["lengths"][step]
                spans += (lengths > 0).sum()
                flat = fields["history_ids"][step].ravel()
                known = [sequence[0] for sequence in here][: (lengths > 0).sum()]
                assert flat[fields["starts"][step][lengths > 0]].tolist() == known
        assert sorted(found) == rows
        assert spans >= 0.97 * num_sequences
        orders.append(found)
    if num_sequences > 3:
        assert orders[0] != orders[1]


def test_the_order_is_one_of_seed_and_epoch_alone():
    sequences = Ragged.from_rows(draw(200, 9))
    shape = choose_shape(sequences, 64, max_slots=8, seed=3)

    def ids(seed, epoch):
        calls = pack_epoch(sequences, shape, seed, epoch)
        return np.concatenate([fields["history_ids"].ravel() for fields in calls]).tolist()

    assert ids(3, 5) == ids(3, 5)
    assert ids(3, 5) != ids(4, 5)
    assert ids(3, 5) != ids(3, 6)


def test_rows_are_nearly_full_on_sequences_like_those_of_shops():
    # Geometric with a mean of six slots, cut at 50.
    lengths = np.minimum(np.random.default_rng(0).geometric(1 / 6, 20_000), 50) + 1
    sequences = Ragged(np.full(lengths.sum(), 2), np.concatenate([[0], np.cumsum(lengths)]))

    shape = choose_shape(sequences, 1024, max_slots=50, seed=1)

    places = shape.num_calls * shape.num_steps * shape.num_rows * shape.width
    assert (lengths - 1).sum() / places > 0.84
    assert shape.num_rows * shape.width == pytest.approx(1024, rel=0.1)


def test_long_sequences_alone_fill_their_rows():
    sequences = Ragged.from_rows([list(range(2, 203))] * 40)  # 200 slots each.

    shape = choose_shape(sequences, 800, max_slots=200, seed=1)

    assert (shape.width, shape.num_rows) == (200, 5)


def test_steps_of_an_epoch_weigh_alike():
    sequences = Ragged.from_rows(draw(1000, 9))
    shape = choose_shape(sequences, 256, max_slots=8, seed=1)

    slots = np.concatenate(
        [
            (fields["positive_ids"] > 0).sum(axis=(1, 2))
            for fields in pack_epoch(sequences, shape, seed=1, epoch=0)
        ]
    )

    assert slots.min() > 0.75 * slots.mean()


@pytest.mark.parametrize("num_replicas", [2, 3])
def test_replicas_share_the_sequences_of_every_step(num_replicas):
    rows = draw(400, 9)
    sequences = Ragged.from_rows(rows)
    shape = choose_shape(sequences, 96, 8, seed=1, num_replicas=num_replicas)
    alone = choose_shape(sequences, 96, 8, seed=1)

    batches = list(pack_epoch(sequences, shape, seed=1, epoch=0, replicas=range(num_replicas)))

    assert len(batches) == shape.num_calls * num_replicas
    assert shape.num_calls * shape.num_steps == alone.num_calls * alone.num_steps
    assert shape.num_rows * num_replicas <= alone.num_rows + num_replicas
    found = [
        unpack({name: values[step] for name, values in fields.items()})[0]
        for fields in batches
        for step in range(shape.num_steps)
    ]
    assert sorted(sequence for step in found for sequence in step) == sorted(rows)
    assert min(map(len, found)) > 0
    # Other processes pack the same ones for the replicas that they have.
    (last, *_) = pack_epoch(sequences, shape, seed=1, epoch=0, replicas=[num_replicas - 1])
    for name, values in last.items():
        np.testing.assert_array_equal(values, batches[num_replicas - 1][name])
