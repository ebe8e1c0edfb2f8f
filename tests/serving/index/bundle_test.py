import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from recall.config import IndexConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.index import bundle
from serving.index.scann_index import build_index
from serving.release import manifest as manifests

NUM_ITEMS, DIM = 40, 4
ITEM_IDS = [f"item {i}" for i in range(NUM_ITEMS - 2)] + ["žluť", "a\tb"]
VALUES = {"fingerprint": "0123456789abcdef", "similarity": "cosine", "recall@100": 1.0}


def make_vectors():
    return np.random.default_rng(0).standard_normal((NUM_ITEMS, DIM)).astype(np.float32)


def make_bundle(folder, kind):
    # The last item is the most popular one; items 0 and 1 are equally popular.
    counts = [5, 5, *range(NUM_ITEMS - 3), 99]
    vocabulary = ItemVocabulary(ITEM_IDS, counts, titles=[f"T{i}" for i in range(NUM_ITEMS)])
    config = IndexConfig(kind=kind, leaves_to_search_fraction=1.0)
    index = build_index(make_vectors(), config, "cosine")
    bundle.write_bundle(folder, vocabulary, make_vectors(), index, VALUES)
    return folder


@pytest.fixture(params=["exact", "scann"])
def folder(request, tmp_path):
    return make_bundle(tmp_path, request.param)


def test_round_trip(folder):
    opened = bundle.open_bundle(folder)
    assert [i.decode() for i in opened.item_ids] == ITEM_IDS == list(opened.items.item_ids)
    assert opened.items.titles[3] == "T3"
    np.testing.assert_array_equal(opened.item_vectors, make_vectors())
    assert opened.item_vectors.dtype == np.float32
    assert (opened.num_items, opened.fingerprint) == (NUM_ITEMS, "0123456789abcdef")
    assert opened.manifest["kind"] == opened.index.kind
    assert {key: opened.manifest[key] for key in VALUES} == VALUES
    query = make_vectors()[:1] * 2
    expected = np.argsort(-(make_vectors() @ query[0]), kind="stable")[:3]
    np.testing.assert_array_equal(opened.index.search(query, 3).rows[0], expected)


def test_vectors_are_mapped_not_copied(folder):
    opened = bundle.open_bundle(folder)
    assert isinstance(opened.item_vectors, np.memmap)
    assert not opened.item_vectors.flags.writeable


def test_fallback_is_the_most_clicked(folder):
    # Counts 99 (last), 36, 35, ... (rows 38, 37, ...); ties keep the order of rows.
    fallback = bundle.open_bundle(folder).fallback
    assert fallback[:3] == ("a\tb", "žluť", "item 37")
    assert fallback.index("item 0") + 1 == fallback.index("item 1")
    assert sorted(fallback) == sorted(ITEM_IDS)


def test_fallback_is_bounded():
    vocabulary = ItemVocabulary([str(i) for i in range(1500)], range(1500))
    popular = bundle.fallback_ids(vocabulary)
    assert len(popular) == 1000
    assert popular[:2] == ["1499", "1498"]


def files_of(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_one_flipped_byte_in_any_file(folder):
    for path in files_of(folder):
        original = path.read_bytes()
        damaged = bytearray(original or b"\0")
        damaged[len(original) // 2] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError, match=path.name):
            bundle.open_bundle(folder)
        path.write_bytes(original)
    bundle.open_bundle(folder)


def test_any_file_truncated(folder):
    for path in files_of(folder):
        original = path.read_bytes()
        for length in {0, len(original) // 2, len(original) * 99 // 100} - {len(original)}:
            path.write_bytes(original[:length])
            with pytest.raises(InputError, match=path.name):
                bundle.open_bundle(folder)
        path.write_bytes(original)


def test_any_file_missing(folder):
    for path in files_of(folder):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(InputError, match=path.name):
            bundle.open_bundle(folder)
        path.write_bytes(content)


def reseal(folder, **changes):
    """Makes the manifest fit whatever the folder holds now."""
    manifest = manifests.read(folder)
    (folder / "manifest.json").unlink()
    own = ("format", "files", "checksum")
    values = {key: value for key, value in manifest.items() if key not in own}
    manifests.seal(folder, {**values, **changes})


def test_pickled_ids_are_never_loaded(folder):
    np.save(folder / "item_ids.npy", np.array(ITEM_IDS, object), allow_pickle=True)
    reseal(folder)
    with pytest.raises(InputError, match=r"item_ids\.npy.*Python objects"):
        bundle.open_bundle(folder)


def test_pickle_beside_scann_is_never_loaded(tmp_path):
    folder = make_bundle(tmp_path, "scann")
    (folder / "scann" / "scann_docids.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    reseal(folder)
    with pytest.raises(InputError, match="pickled files"):
        bundle.open_bundle(folder)


def test_files_that_do_not_belong_together(folder):
    np.save(folder / "item_ids.npy", np.array([i.encode() for i in reversed(ITEM_IDS)]))
    reseal(folder)
    with pytest.raises(InputError, match="name different items"):
        bundle.open_bundle(folder)


def test_manifest_of_another_shape(folder):
    reseal(folder, dim=DIM + 1)
    with pytest.raises(InputError, match=r"item_vectors\.npy holds float32 \(40, 4\)"):
        bundle.open_bundle(folder)


def test_unknown_kind(folder):
    reseal(folder, kind="hnsw")
    with pytest.raises(InputError, match="unknown kind 'hnsw'"):
        bundle.open_bundle(folder)


def test_items_with_other_columns(folder):
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.drop_columns(["categories"]), folder / "items.parquet")
    reseal(folder)
    with pytest.raises(InputError, match=r"items\.parquet has not the columns of a vocabulary"):
        bundle.open_bundle(folder)


def test_fallback_that_is_no_list(folder):
    (folder / "fallback.json").write_text(json.dumps({"a": 1}))
    reseal(folder)
    with pytest.raises(InputError, match=r"fallback\.json is not a list"):
        bundle.open_bundle(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        bundle.open_bundle(tmp_path / "nothing")


def test_without_verification_only_the_manifest_is_read(folder):
    (folder / "items.parquet").rename(folder / "kept")
    (folder / "kept").rename(folder / "items.parquet")
    assert bundle.open_bundle(folder, verify=False).num_items == NUM_ITEMS


def test_check_compatible(folder):
    opened = bundle.open_bundle(folder)
    bundle.check_compatible(opened, "0123456789abcdef")
    with pytest.raises(InputError, match="fingerprint ffff, the index 0123456789abcdef"):
        bundle.check_compatible(opened, "ffff")


def test_sizes_must_agree(tmp_path):
    index = build_index(make_vectors(), IndexConfig(), "cosine")
    with pytest.raises(InputError, match="2 items, 40 vectors and an index of 40"):
        bundle.write_bundle(tmp_path, ItemVocabulary(["a", "b"]), make_vectors(), index, VALUES)


def test_an_exact_bundle_opens_without_tensorflow(tmp_path):
    make_bundle(tmp_path, "exact")
    script = (
        "import sys; sys.modules['tensorflow'] = sys.modules['scann'] = None\n"
        "from serving.index import bundle\n"
        f"print(bundle.open_bundle({str(tmp_path)!r}).num_items)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "40\n", result.stderr
