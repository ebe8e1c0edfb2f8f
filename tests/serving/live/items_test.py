"""Acknowledged changes: durable, visible, kept across versions and processes."""

import threading

import numpy as np
import pytest

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.api.item_changes import MAX_CHANGES, ItemUpsert
from serving.index.bundle import IndexBundle
from serving.index.catalogue import NO_ROW
from serving.index.exact_index import ExactIndex
from serving.live import catalogue as live_catalogue
from serving.live import items
from serving.live.catalogue import LiveCatalogue
from serving.live.item_content import EmbeddedItems
from serving.live.items import LiveItems
from serving.live.store import ItemChange
from serving.protocol.status import Code, ServingError
from tests.serving.category_embedder import CategoriesAlone
from tests.waiting import wait_for

DIM = 3
COLOURS = {"red": [1, 0, 0], "green": [0, 1, 0], "blue": [0, 0, 1]}


def make_catalogue(version=1, item_ids=("a", "b", "c"), *, similarity="cosine", embeds=True):
    """A version whose space is turned by its number, so that vectors of two differ."""
    fingerprint = f"space {version}"

    def embed(categories):
        known = [
            [np.roll(COLOURS[c], version) for c in names if c in COLOURS] for names in categories
        ]
        vectors = [np.mean(rows, axis=0) if rows else np.zeros(DIM) for rows in known]
        return EmbeddedItems(
            np.array(vectors, np.float32), np.array([len(r) for r in known]), fingerprint
        )

    vectors = np.random.default_rng(version).standard_normal((len(item_ids), DIM))
    vectors = vectors.astype(np.float32)
    table = ItemVocabulary(
        item_ids, categories=[("red",)] * len(item_ids), titles=[f"T{i}" for i in item_ids]
    ).to_table()
    bundle = IndexBundle(
        manifest={"fingerprint": fingerprint, "similarity": similarity},
        item_ids=np.array([i.encode() for i in item_ids]),
        item_vectors=vectors,
        table=table,
        fallback=tuple(item_ids),
        index=ExactIndex(vectors),
    )
    return LiveCatalogue(bundle, version=version, embed=CategoriesAlone(embed) if embeds else None)


@pytest.fixture
def make_live(tmp_path):
    opened = []

    def make(*catalogues):
        opened.append(LiveItems(tmp_path))
        for catalogue in catalogues:
            opened[-1].attach(catalogue)
        return opened[-1]

    yield make
    for live in opened:
        live.close()


def ids_of(catalogue):
    view = catalogue.view()
    return sorted(i.decode() for i in view.item_ids(view.rows()).tolist())


def vector_of(catalogue, item_id):
    view = catalogue.view()
    (row,) = view.rows_of([item_id.encode()])
    return None if row == NO_ROW else view.vectors(np.array([row]))[0]


def test_acknowledged_means_visible_and_durable(make_live):
    catalogue = make_catalogue()
    live = make_live(catalogue)
    assert live.delete(["b", "no item", "b"]) == (1, 2, 1)
    assert ids_of(catalogue) == ["a", "c"]
    assert live.upsert([ItemUpsert("n", ("green",), "New")]) == (2, 3, 1)
    assert ids_of(catalogue) == ["a", "c", "n"]
    restarted = make_catalogue()
    make_live(restarted)
    assert ids_of(restarted) == ["a", "c", "n"]


def test_a_new_item_gets_the_vector_of_its_categories(make_live):
    catalogue = make_catalogue()
    make_live(catalogue).upsert([ItemUpsert("n", ("red", "blue", "unheard of"))])
    # Rolled by one: red is [0, 1, 0], blue [1, 0, 0].
    np.testing.assert_array_equal(vector_of(catalogue, "n"), [0.5, 0.5, 0])


def test_a_known_item_keeps_its_trained_vector(make_live):
    catalogue = make_catalogue()
    trained = vector_of(catalogue, "a").copy()
    live = make_live(catalogue)
    live.upsert([ItemUpsert("a", ("green",))])
    np.testing.assert_array_equal(vector_of(catalogue, "a"), trained)
    view = catalogue.view()
    assert view.item_ids(view.rows_in(view.category_codes(["green"]))).tolist() == [b"a"]
    live.delete(["a"])
    live.upsert([ItemUpsert("a")])  # Back in stock, as the release had it.
    np.testing.assert_array_equal(vector_of(catalogue, "a"), trained)
    view = catalogue.view()
    assert view.item_ids(view.rows_in(view.category_codes(["red"]))).tolist() == [b"a", b"b", b"c"]


def test_a_given_vector_comes_first_and_is_scaled_under_cosine(make_live):
    catalogue = make_catalogue()
    make_live(catalogue).upsert(
        [ItemUpsert("a", vector=[3, 0, 4]), ItemUpsert("n", vector=[0, 2, 0])]
    )
    np.testing.assert_allclose(vector_of(catalogue, "a"), [0.6, 0, 0.8], atol=1e-7)
    np.testing.assert_allclose(vector_of(catalogue, "n"), [0, 1, 0], atol=1e-7)


def test_a_given_vector_stays_as_it_is_under_inner_product(make_live):
    catalogue = make_catalogue(similarity="inner_product")
    make_live(catalogue).upsert([ItemUpsert("a", vector=[3, 0, 4])])
    np.testing.assert_array_equal(vector_of(catalogue, "a"), [3, 0, 4])


def test_the_last_word_on_an_item_in_one_call_wins(make_live):
    catalogue = make_catalogue()
    make_live(catalogue).upsert([ItemUpsert("n", ("red",)), ItemUpsert("n", ("blue",))])
    np.testing.assert_array_equal(vector_of(catalogue, "n"), [1, 0, 0])


class TestSwap:
    """A new release comes while the old one serves."""

    def test_both_versions_get_every_change(self, make_live):
        old, new = make_catalogue(1), make_catalogue(2, ("b", "c", "d"))
        live = make_live(old)
        live.delete(["b", "d"])
        live.upsert([ItemUpsert("n", ("red",))])
        live.attach(new)
        assert ids_of(new) == ["c", "n"]
        live.delete(["c"])
        assert (ids_of(old), ids_of(new)) == (["a", "n"], ["n"])
        live.detach(old)
        live.upsert([ItemUpsert("c")])
        assert (ids_of(old), ids_of(new)) == (["a", "n"], ["c", "n"])

    def test_items_are_embedded_again(self, make_live):
        old, new = make_catalogue(1), make_catalogue(2)
        live = make_live(old)
        live.upsert([ItemUpsert("n", ("red",))])
        live.attach(new)
        np.testing.assert_array_equal(vector_of(old, "n"), [0, 1, 0])
        np.testing.assert_array_equal(vector_of(new, "n"), [0, 0, 1])

    def test_a_vector_of_the_old_space_is_never_used_in_the_new_one(self, make_live):
        old, new = make_catalogue(1), make_catalogue(2)
        live = make_live(old)
        live.upsert(
            [
                ItemUpsert("only a vector", vector=[1, 0, 0]),
                ItemUpsert("categories too", ("red",), vector=[1, 0, 0]),
                ItemUpsert("a", vector=[1, 0, 0]),
            ]
        )
        trained = vector_of(new, "a").copy()
        live.attach(new)
        assert vector_of(new, "only a vector") is None
        np.testing.assert_array_equal(vector_of(new, "categories too"), [0, 0, 1])
        np.testing.assert_array_equal(vector_of(new, "a"), trained)
        assert [v["num_waiting"] for v in live.status()["versions"]] == [0, 1]
        live.upsert([ItemUpsert("only a vector", vector=[0, 1, 0])])  # Now for version 2.
        np.testing.assert_array_equal(vector_of(new, "only a vector"), [0, 1, 0])
        assert [v["num_waiting"] for v in live.status()["versions"]] == [1, 0]

    def test_a_given_vector_belongs_to_the_version_that_is_asked(self, make_live):
        old, new = make_catalogue(1), make_catalogue(2, ("b", "c", "d", "e"))
        live = make_live(old, new)
        assert live.upsert([ItemUpsert("n", vector=[1, 0, 0])], version=1) == (1, 4, 1)
        np.testing.assert_array_equal(vector_of(old, "n"), [1, 0, 0])
        assert vector_of(new, "n") is None
        assert live.delete(["b"], version=1) == (2, 3, 1)
        live.detach(new)  # It could not be served after all.
        assert [v["num_waiting"] for v in live.status()["versions"]] == [0]
        with pytest.raises(ServingError, match="Version 2 is not loaded") as caught:
            live.upsert([ItemUpsert("n", vector=[1, 0, 0])], version=2)
        assert caught.value.code == Code.UNAVAILABLE

    def test_changes_while_a_version_is_loading_are_not_missed(self, make_live, monkeypatch):
        live, new = make_live(make_catalogue(1)), make_catalogue(2)
        live.delete(["a"])
        place = new.place

        def slow_place(changes, **options):
            monkeypatch.setattr(new, "place", place)
            live.delete(["b"])  # After the changes so far were read.
            return place(changes, **options)

        monkeypatch.setattr(new, "place", slow_place)
        live.attach(new)
        assert ids_of(new) == ["c"]


def test_another_process_on_the_folder_sees_the_change_soon(make_live):
    """Two objects share nothing but the file, as two processes do."""
    mine, theirs = make_catalogue(), make_catalogue()
    writer, _ = make_live(mine), make_live(theirs)
    writer.delete(["a"])
    wait_for(lambda: ids_of(theirs) == ["b", "c"])


def test_changes_of_another_process_are_made_again_after_a_failure(make_live, monkeypatch):
    """One catch-up meets an upsert that cannot be placed yet, and a deletion."""
    monkeypatch.setattr(items, "CATCH_UP_RETRY_S", 0.01)
    mine, theirs = make_catalogue(), make_catalogue()
    writer, reader = make_live(mine), make_live(theirs)
    embed, has_failed = theirs._embed, threading.Event()

    def fail(items, **options):
        has_failed.set()
        raise ServingError(Code.UNAVAILABLE, "The item tower restarts.")

    monkeypatch.setattr(theirs, "_embed", fail)
    with reader._lock:
        writer.upsert([ItemUpsert("n", ("red",))])
        writer.delete(["a"])
    assert has_failed.wait(10)
    assert ids_of(theirs) == ["b", "c"]
    monkeypatch.setattr(theirs, "_embed", embed)
    wait_for(lambda: ids_of(theirs) == ["b", "c", "n"])
    assert reader.status()["sequence"] == 2


def test_two_writers_end_with_the_same_items(make_live):
    catalogues = [make_catalogue() for _ in range(2)]
    lives = [make_live(catalogue) for catalogue in catalogues]

    def write(number):
        for step in range(15):
            lives[number].upsert([ItemUpsert(f"{number}-{step}", ("red",))])
            lives[number].delete([f"{number}-{step - 3}"])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for live in lives:
        live.delete(["nothing"])  # Whoever writes has seen all that came before.
    expected = sorted(["a", "b", "c", *(f"{n}-{step}" for n in range(2) for step in (12, 13, 14))])
    assert ids_of(catalogues[0]) == ids_of(catalogues[1]) == expected


class TestRebuild:
    def test_many_changes_make_a_new_base(self, make_live, monkeypatch):
        monkeypatch.setattr(live_catalogue, "MIN_REBUILD_CHANGES", 20)
        catalogue = make_catalogue()
        live = make_live(catalogue)
        for number in range(50):
            live.upsert([ItemUpsert(f"n{number}", ("red",))])
        wait_for(lambda: catalogue.status()["num_base"] >= 20)
        status = catalogue.status()
        assert status["num_base"] >= 20
        assert status["num_delta"] < 31
        assert ids_of(catalogue) == sorted(["a", "b", "c", *(f"n{n}" for n in range(50))])

    def test_a_failed_one_changes_nothing(self, make_live, monkeypatch, caplog):
        monkeypatch.setattr(live_catalogue, "MIN_REBUILD_CHANGES", 2)
        tried = threading.Event()

        def fail(base, view):
            tried.set()
            raise MemoryError("no room")

        monkeypatch.setattr(items, "build_bundle", fail)
        catalogue = make_catalogue()
        live = make_live(catalogue)
        live.delete(["a", "b"])
        assert tried.wait(10)
        live.upsert([ItemUpsert("a")])
        assert ids_of(catalogue) == ["a", "c"]
        assert catalogue.status()["num_base"] == 3


class TestRefused:
    @pytest.fixture
    def refuse(self, make_live):
        catalogue = make_catalogue()
        live = make_live(catalogue)

        def refuse(message, call, *arguments):
            with pytest.raises(InputError, match=message):
                getattr(live, call)(*arguments)
            assert ids_of(catalogue) == ["a", "b", "c"]
            assert live.status()["sequence"] == 0

        return refuse

    def test_ids(self, refuse):
        refuse("changes 1 to 1000 items, received 0", "delete", [])
        refuse("received 1001", "delete", ["x"] * (MAX_CHANGES + 1))
        refuse("1 to 1024 bytes, received 0", "delete", [""])
        refuse("received 1026", "delete", ["ž" * 513])
        refuse("has a line break, or NUL at its end", "delete", ["x\0"])
        refuse("has a line break, or NUL at its end", "upsert", [ItemUpsert("x\ny")])
        refuse("not valid Unicode", "delete", ["\ud800"])

    def test_texts(self, refuse):
        refuse("has 101 categories", "upsert", [ItemUpsert("n", ("red",) * 101)])
        refuse("has an empty category", "upsert", [ItemUpsert("n", ("red", ""))])
        refuse("has 4097 characters", "upsert", [ItemUpsert("n", ("red",), "x" * 4097)])
        refuse("not valid Unicode", "upsert", [ItemUpsert("n", ("red",), "\udfff")])

    def test_vectors(self, refuse):
        def vector(values):
            return [ItemUpsert("n", vector=values)]

        refuse(r"has the shape \[2\], the model's have \[3\]", "upsert", vector([1, 2]))
        refuse("is not finite", "upsert", vector([1, 2, float("nan")]))
        refuse("is not finite", "upsert", vector([1, 2, 1e300]))
        refuse("is not finite", "upsert", vector([1, 2, 10**400]))
        refuse("is zero", "upsert", vector([0, 0, 0]))
        refuse("has no number", "upsert", vector([]))
        refuse("has no number", "upsert", vector([float("nan")] * 3))

    def test_a_vector_much_longer_than_those_of_the_release(self, make_live):
        catalogue = make_catalogue(similarity="inner_product")
        longest = max(np.linalg.norm(vector_of(catalogue, i)) for i in "abc")
        live = make_live(catalogue)
        live.upsert([ItemUpsert("n", vector=[9.9 * longest, 0, 0])])
        # What was taken does not allow the next one to be longer still.
        with pytest.raises(InputError, match=r"'m' has the length .* more than 10 times that of"):
            live.upsert([ItemUpsert("m", vector=[10.1 * longest, 0, 0])])
        assert ids_of(catalogue) == ["a", "b", "c", "n"]
        live = make_live(unit := make_catalogue(2))  # By cosine only the direction counts.
        live.upsert([ItemUpsert("m", vector=[1e5, 0, 0])], version=2)
        np.testing.assert_array_equal(vector_of(unit, "m"), [1, 0, 0])

    def test_new_items_nobody_can_place(self, refuse):
        refuse("the model knows none of its values", "upsert", [ItemUpsert("n", ("mauve",))])
        refuse("declares the features categories", "upsert", [ItemUpsert("n")])
        # One bad item of many: nothing is changed.
        refuse("'n'", "upsert", [ItemUpsert("ok", ("red",)), ItemUpsert("n")])

    def test_a_model_without_categories(self, make_live):
        catalogue = make_catalogue(embeds=False)
        live = make_live(catalogue)
        with pytest.raises(
            InputError, match=r"the model knows no features of items\. Give a vector"
        ):
            live.upsert([ItemUpsert("n", ("red",))])
        live.upsert([ItemUpsert("n", ("red",), vector=[1, 0, 0])])
        assert ids_of(catalogue) == ["a", "b", "c", "n"]

    def test_before_a_version_is_loaded(self, make_live):
        with pytest.raises(ServingError, match="No version is loaded") as caught:
            make_live().delete(["a"])
        assert caught.value.code == Code.UNAVAILABLE

    def test_a_full_disk(self, make_live):
        catalogue = make_catalogue()
        live = make_live(catalogue)
        live.delete(["a"])
        live._store._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(ServingError, match="Nothing was changed"):
            live.upsert([ItemUpsert(f"{n}", ("red",), "x" * 4000) for n in range(20)])
        assert ids_of(catalogue) == ["b", "c"]


def test_a_tower_of_another_space_is_refused():
    catalogue = make_catalogue(1)
    catalogue._embed = make_catalogue(2)._embed
    with pytest.raises(ServingError, match="from embedding space space 2, the index holds space 1"):
        catalogue.place([ItemChange("n", categories=("red",))])


def test_status(make_live):
    live = make_live(make_catalogue())
    live.delete(["a", "never heard of"])
    live.upsert([ItemUpsert("n", ("red",))])
    assert live.status() == {
        "sequence": 2,
        "num_upserted": 1,
        "num_deleted": 2,
        "versions": [
            {
                "version": 1,
                "fingerprint": "space 1",
                "num_items": 3,
                "num_base": 3,
                "num_hidden": 1,
                "num_delta": 1,
                "num_waiting": 0,
                "categories_left_out": ["red"],
                "num_feature_values": 0,
                "num_unknown_values": 0,
                "is_rebuilding": False,
            }
        ],
    }
