"""DSSRec: which prefixes meet which targets and futures, and what a step does."""

import json

import numpy as np
import pytest
import tensorflow as tf

from recall.config import RecallConfig
from recall.features import SequenceBatch
from recall.layers.extractor import WantedPrefixes
from recall.losses.negatives import sample_uniform_negatives
from recall.models import future_interests
from recall.models.dssrec import DSSRec
from recall.vocabulary import ItemVocabulary

NUM_ITEMS = 30
SEQUENCES = [[2, 3, 4, 5, 6, 7], [9, 8, 2], [20, 21, 22, 23], [31, 2], [11, 12, 11, 14, 3]]
SEED = tf.constant([4, 8], tf.int64)


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


def build_config(*assignments):
    return RecallConfig().override(
        [
            "model.dim=8",
            "model.num_interests=3",
            "model.max_history_length=6",
            "model.feed_forward_dim=12",
            "model.num_blocks=1",
            "loss.num_negatives=12",
            "loss.seq2seq_weight=0.5",
            "loss.confident_fraction=0.5",
            "loss.temperature=0.5",
            *assignments,
        ]
    )


def build_model(*assignments):
    config = build_config(*assignments)
    model = DSSRec(config, ItemVocabulary([f"i{i}" for i in range(NUM_ITEMS)]))
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    model(np.array([[2]]))
    rng = np.random.default_rng(3)
    for weight in model.weights:  # Positions and biases large enough to be seen.
        if "positions" in weight.name or "bias" in weight.name:
            weight.assign(rng.normal(size=weight.shape))
    return model


def to_batch(sequences):
    width = max(len(sequence) for sequence in sequences)
    padded = [sequence + [0] * (width - len(sequence)) for sequence in sequences]
    return SequenceBatch(tf.constant(padded, tf.int64))


def encode(model, histories, **arguments):
    """Interests of whole histories, `[num_histories, num_interests, dim]`."""
    batch = to_batch(histories).item_ids
    prefixes = model.user_tower.encode_prefixes(batch, WantedPrefixes(**arguments))
    prefixes = prefixes.user_vectors.numpy()
    return prefixes[range(len(histories)), [len(history) - 1 for history in histories]]


def next_clicks(sequences):
    """(history, next click) of every slot, in the order of the slots."""
    return [(sequence[:t], sequence[t]) for sequence in sequences for t in range(1, len(sequence))]


def mean_seq2item(model, clicks, negatives, reduction="max"):
    """The loss by numpy, click by click."""
    items = model.item_tower(np.arange(NUM_ITEMS + 2)).numpy()
    losses = []
    for interests, (_, positive) in zip(encode(model, [c[0] for c in clicks]), clicks, strict=True):
        scores = interests @ items[[positive, *negatives[negatives != positive]]].T / 0.5
        candidates = scores.max(axis=0) if reduction == "max" else scores.ravel()
        losses.append(np.log(np.exp(candidates).sum()) - scores[:, 0].max())
    return np.mean(losses)


@pytest.mark.parametrize("extractor", ["dssrec", "last_state", "self_attentive", "routing"])
@pytest.mark.parametrize("reduction", ["max", "sum"])
def test_seq2item_is_the_mean_over_all_next_clicks(extractor, reduction):
    model = build_model(f"model.extractor={extractor}", f"loss.interest_reduction={reduction}")

    terms = model.compute_losses(to_batch(SEQUENCES), SEED)

    clicks = next_clicks(SEQUENCES)
    assert len(clicks) == 5 + 2 + 3 + 1 + 4
    negatives = sample_uniform_negatives(NUM_ITEMS, 12, SEED).numpy()
    expected = mean_seq2item(model, clicks, negatives, reduction)
    np.testing.assert_allclose(terms.seq2item, expected, rtol=1e-4)


@pytest.mark.parametrize("reduction", ["max", "argmax"])
def test_the_full_softmax_is_over_every_item(reduction):
    model = build_model("loss.negatives=full", f"loss.interest_reduction={reduction}")

    terms = model.compute_losses(to_batch(SEQUENCES), SEED)

    assert model.click_queue is None
    every_item = np.arange(2, NUM_ITEMS + 2)
    if reduction == "max":
        expected = mean_seq2item(model, next_clicks(SEQUENCES), every_item)
        np.testing.assert_allclose(terms.seq2item, expected, rtol=1e-4)
    else:
        assert 0 < terms.seq2item < mean_seq2item(model, next_clicks(SEQUENCES), every_item)


def test_routed_clicks_belong_to_the_interest_they_are_routed_to():
    """Whoever wins them: a queue then has the items of its interest, from all users."""
    model = build_model("loss.negatives=interest_queues", "model.extractor=routing")

    terms = model.compute_losses(to_batch(SEQUENCES), SEED, training=True)

    clicked = [click for _, click in next_clicks(SEQUENCES)]
    routes, _ = model.user_tower.route(np.array(clicked))
    expected = routes.numpy().reshape(len(clicked), 3, 4).sum(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(terms.winners, expected)
    model.enqueue(model.queue_rows(terms))
    for interest, queue in enumerate(model.click_queue.numpy()):
        latest = [click for click, own in zip(clicked, expected, strict=True) if own == interest]
        np.testing.assert_array_equal(queue[: len(latest)], latest[: len(queue)])


@pytest.mark.parametrize("reduction", ["max", "sum"])
def test_in_batch_negatives_are_the_other_clicks_of_the_step(reduction):
    model = build_model("loss.negatives=in_batch", f"loss.interest_reduction={reduction}")

    terms = model.compute_losses(to_batch(SEQUENCES), SEED)

    clicks = next_clicks(SEQUENCES)
    expected = mean_seq2item(model, clicks, np.array([click for _, click in clicks]), reduction)
    np.testing.assert_allclose(terms.seq2item, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("extractor", "is_reversed"), [("dssrec", True), ("last_state", True), ("dssrec", False)]
)
def test_the_future_of_an_anchor_is_what_follows_it(extractor, is_reversed, monkeypatch):
    """Every pair the loss meets is (x_1..x_t, x_T..x_t+1) for one t, and every t occurs.

    Without reversal it is (x_1..x_t, x_t+1..x_T).
    """
    calls = []

    def record(*arguments, **_):
        calls.append([tensor.numpy() for tensor in arguments])
        return tf.zeros(arguments[0].shape[:2])

    monkeypatch.setattr(future_interests, "seq2seq_loss", record)
    model = build_model(
        f"model.extractor={extractor}", f"loss.reverse_future={json.dumps(is_reversed)}"
    )
    is_future = {"is_future": True} if extractor == "dssrec" else {}

    model.compute_losses(to_batch(SEQUENCES * 20), SEED)

    (pasts, futures, is_valid) = calls[0]
    assert is_valid.all()
    for row, sequence in enumerate(SEQUENCES):
        rows = slice(row, None, len(SEQUENCES))
        splits = range(1, len(sequence))
        own_pasts = encode(model, [sequence[:t] for t in splits])
        step = -1 if is_reversed else 1
        own_futures = encode(model, [sequence[t:][::step] for t in splits], **is_future)
        anchors = []
        for past, future in zip(own_pasts, own_futures, strict=True):
            fits = np.isclose(pasts[rows], past, atol=1e-4).all(axis=(1, 2))
            fits &= np.isclose(futures[rows], future, atol=1e-4).all(axis=(1, 2))
            anchors.append(fits.sum())
        assert sum(anchors) == 20
        assert min(anchors) > 0


def test_interests_that_are_switched_off_score_no_click():
    model = build_model("model.min_interest_weight=.3", "loss.seq2seq_weight=0")
    clicks = next_clicks(SEQUENCES)
    model.user_tower.min_interest_weight = 0.0
    weights = []
    for history, _ in clicks:
        weights.append(model.user_tower(np.array([history])).interest_weights.numpy()[0])
    weights = np.array(weights)
    least = np.sort(weights.ravel())[21:23].mean()  # None is that near to rounding.
    model.user_tower.min_interest_weight = least

    terms = model.compute_losses(to_batch(SEQUENCES), SEED)

    is_left = (weights >= least) | (weights == weights.max(axis=1, keepdims=True))
    assert 15 <= is_left.sum() < 45
    items = model.item_tower(np.arange(NUM_ITEMS + 2)).numpy() / 0.5
    negatives = sample_uniform_negatives(NUM_ITEMS, 12, SEED).numpy()
    losses = []
    for row, (interests, (_, positive)) in enumerate(
        zip(encode(model, [c[0] for c in clicks]), clicks, strict=True)
    ):
        scores = (interests[is_left[row]] @ items.T).max(axis=0)
        own = scores[[positive, *negatives[negatives != positive]]]
        losses.append(np.log(np.exp(own).sum()) - own[0])
        assert is_left[row][terms.winners[row]]
    np.testing.assert_allclose(terms.seq2item, np.mean(losses), rtol=1e-4)


def test_anchors_are_one_in_each_part_of_a_sequence(monkeypatch):
    """Three of five slots: [0, 1), [1, 3), [3, 5); of two slots both, of one slot that."""
    calls = []

    def record(past, future, is_valid, owners, **_):
        calls.append([np.asarray(one) for one in (past, future, is_valid, owners)])
        return tf.zeros(past.shape[:2])

    monkeypatch.setattr(future_interests, "seq2seq_loss", record)
    sequences = [[2, 3, 4, 5, 6, 7], [9, 8, 2], [31, 2]]
    model = build_model("loss.seq2seq_anchors=3")
    for number in range(20):
        model.compute_losses(to_batch(sequences), SEED + number)

    # What each sequence gives where it is cut in two.
    cut_vectors = [
        (
            encode(model, [sequence[:t] for t in range(1, len(sequence))]),
            encode(model, [sequence[t:][::-1] for t in range(1, len(sequence))], is_future=True),
        )
        for sequence in sequences
    ]
    cuts = set()
    for pasts, futures, is_valid, owners in calls:
        np.testing.assert_array_equal(owners, [0, 1, 2] * 3)
        assert is_valid.reshape(3, 3).sum(axis=0).tolist() == [3, 2, 1]
        found = [[] for _ in sequences]
        real = (part[is_valid] for part in (pasts, futures, owners))
        for past, future, owner in zip(*real, strict=True):
            past_of_cuts, future_of_cuts = cut_vectors[owner]
            fits = np.isclose(past_of_cuts, past, atol=1e-4)
            fits &= np.isclose(future_of_cuts, future, atol=1e-4)
            (place,) = np.flatnonzero(fits.all(axis=(1, 2)))
            found[owner].append(int(place))
        assert found[1:] == [[0, 1], [0]]
        cuts.add(tuple(found[0]))
    assert cuts == {(0, b, c) for b in (1, 2) for c in (3, 4)}


def test_the_queue_of_futures_gives_a_step_those_of_the_steps_before(monkeypatch):
    queues = []

    def record(past, future, is_valid, queued_vectors, **options):
        queues.append((queued_vectors.numpy(), future.numpy()[is_valid.numpy()]))
        return real_loss(past, future, is_valid, queued_vectors=queued_vectors, **options)

    real_loss = future_interests.seq2seq_loss
    monkeypatch.setattr(future_interests, "seq2seq_loss", record)
    model = build_model("loss.seq2seq_queue=6")
    for sequences in (SEQUENCES[:2], [[5], *SEQUENCES[2:]], SEQUENCES):
        model.train_step(to_batch(sequences))

    expected = np.zeros([6, 3, 8], np.float32)
    for waiting, futures in queues:
        np.testing.assert_array_equal(waiting, expected)
        expected = np.concatenate([futures, expected])[:6]
    np.testing.assert_array_equal(model.future_queue, expected)
    assert [len(futures) for _, futures in queues] == [2, 3, 5]
    assert build_model("loss.seq2seq_queue=6", "loss.seq2seq_weight=0").future_queue is None


def test_a_sequence_without_a_future_is_no_pair(monkeypatch):
    valid = []

    def record(past_vectors, future_vectors, is_valid, **arguments):
        valid.append(is_valid.numpy().tolist())
        return tf.zeros(past_vectors.shape[:2])

    monkeypatch.setattr(future_interests, "seq2seq_loss", record)
    build_model().compute_losses(to_batch([[2, 3, 4], [5], [6, 7]]), SEED)

    assert valid == [[True, False, True]]


def test_seq2seq_is_the_mean_of_the_confident_pairs(monkeypatch):
    losses = tf.constant([[0.5, 2.0, 9.0], [4.0, 1.0, 0.2]])
    monkeypatch.setattr(future_interests, "seq2seq_loss", lambda *args, **kwargs: losses)

    terms = build_model().compute_losses(to_batch([[2, 3, 4], [5, 6]]), SEED)

    # confident_fraction .5 of 6 pairs: .2, .5 and 1.0.
    np.testing.assert_allclose(terms.seq2seq, 1.7 / 3, rtol=1e-5)


def test_losses_are_a_function_of_the_seed():
    model, batch = build_model(), to_batch(SEQUENCES)
    first, again = model.compute_losses(batch, SEED), model.compute_losses(batch, SEED)
    others = [model.compute_losses(batch, SEED + 2 * i).seq2item.numpy() for i in range(1, 4)]

    assert (first.seq2item, first.seq2seq) == (again.seq2item, again.seq2seq)
    assert len({float(first.seq2item), *map(float, others)}) == 4


def test_neither_padding_nor_the_order_of_users_changes_seq2item():
    model = build_model()
    expected = model.compute_losses(to_batch(SEQUENCES), SEED).seq2item
    batch = to_batch(SEQUENCES[::-1])
    wider = SequenceBatch(tf.pad(batch.item_ids, [[0, 0], [0, 1]]))

    for other in (batch, wider):
        np.testing.assert_allclose(model.compute_losses(other, SEED).seq2item, expected, rtol=1e-4)


def test_weight_zero_switches_seq2seq_off(monkeypatch):
    monkeypatch.setattr(
        future_interests, "seq2seq_loss", lambda *args, **kwargs: pytest.fail("computed")
    )

    terms = build_model("loss.seq2seq_weight=0").compute_losses(to_batch(SEQUENCES), SEED)

    assert terms.seq2seq == 0
    assert terms.seq2item > 0


def test_a_step_minimises_the_weighted_sum_of_both_losses():
    model = build_model("model.dropout_rate=0", "loss.min_interest_share=0")
    # One step along the gradient with a rate small enough to be linear:
    # the loss falls by rate * |gradient|^2.
    model.compile(optimizer=tf.keras.optimizers.SGD(1e-4))
    batch, seed = to_batch(SEQUENCES), tf.stack([tf.constant(1, tf.int64), 0])

    def total():
        terms = model.compute_losses(batch, seed)
        return terms.seq2item + 0.5 * terms.seq2seq

    with tf.GradientTape() as tape:
        before = total()
    gradients = tape.gradient(before, model.trainable_variables)
    logs = model.train_step(batch)

    fall = 1e-4 * sum(float(tf.reduce_sum(tf.convert_to_tensor(g) ** 2)) for g in gradients)
    np.testing.assert_allclose(before - total(), fall, rtol=0.1)
    np.testing.assert_allclose(logs["loss"], before, rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], logs["seq2item"] + 0.5 * logs["seq2seq"], rtol=1e-5)


def test_interests_are_hidden_in_training_alone():
    batch = to_batch(SEQUENCES)
    for share in (0, 1):
        model = build_model("model.dropout_rate=0", f"loss.min_interest_share={share}")
        terms = [model.compute_losses(batch, SEED, training=training) for training in (False, True)]
        changed = [float(abs(a - b)) > 1e-4 for a, b in zip(*(t[:2] for t in terms), strict=True)]
        assert changed == [share > 0, False]


def test_a_step_reports_how_much_each_interest_learns():
    model = build_model("model.dropout_rate=0", "loss.min_interest_share=0")
    batch = to_batch(SEQUENCES)
    with tf.GradientTape() as tape:
        terms = model.compute_losses(batch, tf.stack([tf.constant(1, tf.int64), 0]))
        total = terms.seq2item + 0.5 * terms.seq2seq
    norms = np.linalg.norm(tape.gradient(total, terms.user_vectors), axis=(0, 2))

    logs = model.train_step(batch)

    shares = [float(logs[f"gradient_{k}"]) for k in range(len(norms))]
    np.testing.assert_allclose(shares, norms / norms.sum(), rtol=1e-4)


def test_one_interest_needs_no_report():
    logs = build_model("model.extractor=last_state").train_step(to_batch(SEQUENCES))
    assert set(logs) == {"loss", "seq2item", "seq2seq"}


def test_equal_seeds_give_equal_steps():
    def train():
        tf.keras.utils.set_random_seed(5)
        model = build_model()
        logs = [model.train_step(to_batch(SEQUENCES)) for _ in range(2)]
        return [float(log["loss"]) for log in logs], model.get_weights()

    (losses, weights), (others, other_weights) = train(), train()

    # A GPU adds up in another order every time.
    tolerance = 1e-6 if tf.config.list_physical_devices("GPU") else 0
    np.testing.assert_allclose(losses, others, rtol=tolerance, atol=0)
    assert losses[0] != losses[1]
    for weight, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=0, atol=tolerance)


def test_calling_the_model_gives_the_user_vectors():
    model = build_model()
    histories = np.array([[2, 3, 0], [4, 5, 6]])

    np.testing.assert_array_equal(model(histories), model.user_tower(histories).user_vectors)


def test_the_queue_gives_a_step_the_clicks_of_the_steps_before():
    model = build_model(
        "loss.negatives=queue",
        "loss.seq2seq_weight=0",
        "loss.min_interest_share=0",
        "model.dropout_rate=0",
    )
    model.compile(optimizer=tf.keras.optimizers.SGD(0.0))  # The model stays as it is.
    # At the beginning twelve items, drawn with a seed that no step has.
    queue = sample_uniform_negatives(NUM_ITEMS, 12, tf.constant([1, -1], tf.int64)).numpy()

    for sequences in ([[2, 3, 4, 5], [9, 8]], [[20, 21, 22]], [[11, 12, 13, 14, 15], SEQUENCES[0]]):
        logs = model.train_step(to_batch(sequences))

        clicks = next_clicks(sequences)
        np.testing.assert_allclose(logs["seq2item"], mean_seq2item(model, clicks, queue), rtol=1e-4)
        queue = np.array([*(positive for _, positive in clicks), *queue])[:12]


def test_every_interest_meets_the_latest_clicks_that_it_won():
    model = build_model(
        "loss.negatives=interest_queues",
        "loss.seq2seq_weight=0",
        "loss.min_interest_share=0",
        "model.dropout_rate=0",
    )
    model.compile(optimizer=tf.keras.optimizers.SGD(0.0))
    items = model.item_tower(np.arange(NUM_ITEMS + 2)).numpy() / 0.5
    first = sample_uniform_negatives(NUM_ITEMS, 12, tf.constant([1, -1], tf.int64)).numpy()
    queues = [list(first) for _ in range(3)]
    winners = set()

    for sequences in (SEQUENCES, [[20, 21, 22]], [[11, 12, 13, 14, 15], SEQUENCES[0]]):
        logs = model.train_step(to_batch(sequences))

        clicks = next_clicks(sequences)
        losses, won = [], [[], [], []]
        for interests, (_, positive) in zip(
            encode(model, [c[0] for c in clicks]), clicks, strict=True
        ):
            winner = (interests @ items[positive]).argmax()
            best = interests[winner] @ items[positive]
            others = [interests[winner] @ items[i] for i in queues[winner] if i != positive]
            losses.append(np.log(np.exp([best, *others]).sum()) - best)
            won[winner].append(positive)
        np.testing.assert_allclose(logs["seq2item"], np.mean(losses), rtol=1e-4)
        queues = [(clicked + queue)[:12] for clicked, queue in zip(won, queues, strict=True)]
        winners |= {k for k in range(3) if won[k]}
    assert len(winners) > 1
    np.testing.assert_array_equal(model.click_queue, queues)


def test_a_click_that_is_given_to_an_interest_goes_to_its_queue():
    # Every interest is to have a third of the clicks, so 5 of these 15 each.
    model = build_model("loss.negatives=interest_queues", "loss.min_interest_share=1")
    before = model.click_queue.numpy()

    model.train_step(to_batch(SEQUENCES))

    clicked = {positive for _, positive in next_clicks(SEQUENCES)}
    for old, new in zip(before, model.click_queue.numpy(), strict=True):
        num_new = next(n for n in range(13) if (new[n:] == old[: 12 - n]).all())
        assert num_new > 0
        assert set(new[:num_new]) <= clicked


@pytest.mark.parametrize("negatives", ["queue", "interest_queues"])
def test_the_items_in_the_queue_learn(negatives):
    model = build_model(f"loss.negatives={negatives}", "loss.seq2seq_weight=0")
    waiting = sorted(set(model.click_queue.numpy().ravel().tolist()) - {2, 3, 4})
    before = model.item_tower.embeddings.numpy()

    model.train_step(to_batch([[2, 3, 4]]))

    assert len(waiting) > 3
    assert (model.item_tower.embeddings.numpy()[waiting] != before[waiting]).any(axis=1).all()


def test_without_the_queue_there_is_none():
    assert build_model().click_queue is None
