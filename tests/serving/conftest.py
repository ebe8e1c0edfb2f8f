"""A tiny but real release: two towers as SavedModels and an exact index.

The towers are simple enough to be worked out in numpy: an item's vector is its
row of a table, the two interests of a user are the first and the last known
item of the history.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import trustme

from recall.config import RecallConfig
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.index.bundle import write_bundle
from serving.index.exact_index import ExactIndex
from serving.index.item_index import ItemIndex
from serving.release import manifest
from serving.release.release import PARTS

NUM_ITEMS = 40
DIM = 4
MAX_HISTORY_LENGTH = 5


class TinyCatalogue:
    """Items "i0" ... "i39", "i0" the most popular, with unit vectors; i6 is in "by2"."""

    def __init__(self, seed: int = 1, num_items: int = NUM_ITEMS, dim: int = DIM):
        table = np.random.default_rng(seed).normal(size=(num_items, dim))
        self.item_vectors = (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(
            np.float32
        )
        self.item_ids = tuple(f"i{row}" for row in range(num_items))
        self.vocabulary = ItemVocabulary(
            self.item_ids,
            counts=range(num_items, 0, -1),
            categories=[(f"by{row % 4}",) for row in range(num_items)],
        )

    def row_of(self, item_id: str) -> int:
        return int(item_id[1:])

    def user_vectors(self, history) -> np.ndarray:
        """`[2, dim]`: vectors of the first and the last of the last 5 known items."""
        known = [self.row_of(i) for i in history if i in self.item_ids][-MAX_HISTORY_LENGTH:]
        return self.item_vectors[[known[0], known[-1]]]

    def expected(self, history, k, removed=()) -> list[tuple[str, int]]:
        """Best items with the interest that found them, by sorting all of them."""
        scores = self.user_vectors(history) @ self.item_vectors.T
        best = scores.max(axis=0)
        order = sorted(range(len(best)), key=lambda row: (-best[row], row))
        kept = [row for row in order if self.item_ids[row] not in removed][:k]
        return [(self.item_ids[row], int(scores[:, row].argmax())) for row in kept]


def _build_towers(catalogue: TinyCatalogue):
    """The catalogue as Keras models over dense ids."""
    import tensorflow as tf

    num_items, dim = catalogue.item_vectors.shape
    rows = np.zeros((num_items + FIRST_ITEM_ID, dim), np.float32)
    rows[FIRST_ITEM_ID:] = catalogue.item_vectors

    class ItemTower(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.table = tf.Variable(rows)

        def call(self, item_ids, training=False):
            return tf.gather(self.table, item_ids)

    class UserTower(tf.keras.Model):
        def __init__(self, item_tower):
            super().__init__()
            self.item_tower = item_tower

        def call(self, history_ids, training=False):
            lengths = tf.math.count_nonzero(history_ids, axis=1)
            last = tf.gather(history_ids, tf.maximum(lengths - 1, 0), batch_dims=1)
            vectors = self.item_tower(tf.stack([history_ids[:, 0], last], axis=1))
            return vectors, tf.fill(tf.shape(vectors)[:2], 0.5)

    item_tower = ItemTower()
    return UserTower(item_tower), item_tower


def write_release(
    serving_dir: Path, catalogue: TinyCatalogue, version: int, index: ItemIndex | None = None
) -> str:
    """Writes a release in the published layout, with an exact index unless another one is given.

    Returns its fingerprint.
    """
    from serving.release.export import export_towers

    export_dir = serving_dir / f"export-{version}"
    export_dir.mkdir(parents=True)
    config = RecallConfig().override([f"model.max_history_length={MAX_HISTORY_LENGTH}"])
    user_tower, item_tower = _build_towers(catalogue)
    values = export_towers(user_tower, item_tower, catalogue.vocabulary, config, export_dir)
    fingerprint = values["fingerprint"]
    for part in ("user_tower", "item_tower"):
        destination = serving_dir / part / str(version)
        destination.parent.mkdir(parents=True, exist_ok=True)
        (export_dir / part).rename(destination)
        manifest.seal(destination, {"fingerprint": fingerprint})
    index_dir = serving_dir / "index" / str(version)
    index_dir.mkdir(parents=True)
    write_bundle(
        index_dir,
        catalogue.vocabulary,
        catalogue.item_vectors,
        index or ExactIndex(catalogue.item_vectors),
        {"fingerprint": fingerprint, "similarity": "cosine", "recall@100": 1.0},
    )
    shutil.rmtree(export_dir)
    return fingerprint


@pytest.fixture(scope="session")
def catalogue() -> TinyCatalogue:
    return TinyCatalogue()


@pytest.fixture(scope="session")
def release_dir(tmp_path_factory, catalogue) -> Path:
    """A published release of version 3; do not change it."""
    serving_dir = tmp_path_factory.mktemp("serving")
    write_release(serving_dir, catalogue, 3)
    return serving_dir


class ReleaseFolder:
    """A serving folder into which releases of two different catalogues are published."""

    def __init__(self, folder: Path, staged: list[tuple[Path, TinyCatalogue]]):
        self.path = folder
        self.catalogues: dict[int, TinyCatalogue] = {}
        self._staged = staged

    def stage(self, version: int, catalogue: int) -> None:
        """Copies a release of catalogue 0 or 1 into the folder, invisible yet."""
        source, self.catalogues[version] = self._staged[catalogue]
        for part in PARTS:
            shutil.copytree(source / part / "3", self.staged(part, version))

    def staged_catalogue(self, catalogue: int) -> TinyCatalogue:
        """Catalogue 0 or 1."""
        return self._staged[catalogue][1]

    def staged(self, part: str, version: int) -> Path:
        return self.path / part / f".{version}.staged"

    def publish(self, version: int, catalogue: int | None = None) -> None:
        """Makes a release visible part by part, as `recall push` does."""
        if catalogue is not None:
            self.stage(version, catalogue)
        for part in PARTS:
            self.staged(part, version).rename(self.path / part / str(version))

    def withdraw(self, version: int) -> None:
        """Removes a release."""
        for part in reversed(PARTS):
            shutil.rmtree(self.path / part / str(version))


@pytest.fixture(scope="session")
def staged_releases(tmp_path_factory, release_dir, catalogue):
    """Two releases that answer differently, each with its catalogue."""
    other, other_catalogue = tmp_path_factory.mktemp("other"), TinyCatalogue(seed=2)
    write_release(other, other_catalogue, 3)
    return [(release_dir, catalogue), (other, other_catalogue)]


@pytest.fixture
def release_folder(tmp_path, staged_releases) -> ReleaseFolder:
    """A folder of its own with version 3."""
    folder = ReleaseFolder(tmp_path / "serving", staged_releases)
    folder.publish(3, 0)
    return folder


@pytest.fixture(scope="session")
def recall_server(release_dir):
    """A server of that release on free ports of 127.0.0.1."""
    from serving.server import RecallServer

    with RecallServer(release_dir, grpc_port=0, http_port=0, version_labels=("stable",)) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """PEM files of an authority, a server, a server elsewhere and a client."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, address in (
        ("server", "127.0.0.1"),
        ("client", "client.example"),
        ("elsewhere", "elsewhere.example"),
    ):
        issued = authority.issue_cert(address)
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other_ca.pem")
    return folder
