"""Damaged, mixed and broken versions are refused, and the old one goes on serving."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.api.recall_request import RecallRequest
from serving.index.bundle import SCANN_DIR_NAME, open_bundle, write_bundle
from serving.index.scann_index import ScannIndex, ScannParameters
from serving.models.servable import State
from serving.protocol.warmup import WARMUP_FILE
from serving.release import manifest
from serving.release.release import PARTS, USER_TOWER
from serving.server import RecallServer
from tests.serving.server_process import Client

pytestmark = pytest.mark.reliability

REQUEST = RecallRequest(("i3", "i7"), k=10)


class Watch:
    """A server of version 3 in which broken versions are tried."""

    def __init__(self, folder, server, client):
        self.folder, self.server, self.client = folder, server, client
        self.version = 3

    def next_version(self) -> int:
        """A number for the next broken version."""
        self.version += 1
        return self.version

    def refuses(self, version: int, reason: str) -> bool:
        """Publishes a staged version: it must end, and version 3 must answer rightly."""
        self.folder.publish(version)
        error = self.client.wait_for_state(version, State.END)
        answer = self.client.recall(REQUEST)
        expected = self.folder.catalogues[3].expected(["i3", "i7"], 10, removed=("i3", "i7"))
        self.folder.withdraw(version)
        right = [(item.item_id, item.interest) for item in answer.items] == expected
        return reason in error and right and answer.index_version == answer.model_version == 3


@pytest.fixture
def watch(release_folder):
    with (
        RecallServer(release_folder.path, grpc_port=0, http_port=0, poll_s=0.02) as server,
        Client(server.grpc_address) as client,
    ):
        yield Watch(release_folder, server, client)


def _files_of(folder) -> list[tuple[str, str]]:
    """Every file of a release that holds something: part and path in it."""
    files = []
    for part in PARTS:
        root = folder.path / part / "3"
        paths = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
        files += [(part, path.relative_to(root).as_posix()) for path in paths]
    return files


def _damage_every_file(watch, tally, ways) -> None:
    for (part, name), damage in itertools.product(_files_of(watch.folder), ways):
        version = watch.next_version()
        watch.folder.stage(version, 1)
        file = watch.folder.staged(part, version) / name
        file.write_bytes(damage(file.read_bytes()))
        tally.count(watch.refuses(version, file.name), f"{part}/{name}")


def test_every_file_truncated(watch, tally):
    shares = (0.0, 0.5, 0.99)
    ways = [lambda content, share=share: content[: int(len(content) * share)] for share in shares]
    num_files = len(_files_of(watch.folder))
    assert num_files > 15
    tally.start(2, "every file truncated at 0, 50, 99 %: refused", 3 * num_files)
    _damage_every_file(watch, tally, ways)
    tally.note(f"{num_files} files")


def _flip(content: bytes) -> bytes:
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0x10
    return bytes(flipped)


def test_one_byte_flipped_in_every_file(watch, tally):
    num_files = len(_files_of(watch.folder))
    tally.start(3, "one byte flipped in every file: refused", num_files)
    _damage_every_file(watch, tally, [_flip])


def test_parts_of_different_exports(watch, tally):
    mixes = [mix for mix in itertools.product((0, 1), repeat=len(PARTS)) if len(set(mix)) > 1]
    tally.start(4, "parts of different versions put together: refused", len(mixes))
    for mix in mixes:
        version, other = watch.next_version(), watch.next_version()
        watch.folder.stage(version, 0)
        watch.folder.stage(other, 1)
        for part, catalogue in zip(PARTS, mix, strict=True):
            if catalogue:
                shutil.rmtree(watch.folder.staged(part, version))
                watch.folder.staged(part, other).rename(watch.folder.staged(part, version))
        tally.count(watch.refuses(version, "mixes exports"), mix)


def _reseal(folder: Path, **changes) -> None:
    values = {
        k: v for k, v in manifest.read(folder).items() if k not in ("format", "files", "checksum")
    }
    (folder / manifest.MANIFEST_NAME).unlink()
    manifest.seal(folder, {**values, **changes})


def _records(change):
    """A warm-up file whose first record was changed."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    def damage(path: Path) -> None:
        (first, *_) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        log = prediction_log_pb2.PredictionLog.FromString(first)
        change(log.predict_log.request)
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(first)
            writer.write(log.SerializeToString())

    return damage


def _wrong_dtype(request) -> None:
    for tensor in request.inputs.values():
        tensor.Clear()
        tensor.dtype = 1
        tensor.float_val.append(1.0)


WARM_UPS = {
    "no records": lambda path: path.write_bytes(b"no records" * 10),
    "half a record": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "an input too many": _records(lambda request: request.inputs["x"].float_val.append(1)),
    "no inputs": _records(lambda request: request.inputs.clear()),
    "wrong dtype": _records(_wrong_dtype),
    "no such signature": _records(
        lambda request: setattr(request.model_spec, "signature_name", "none")
    ),
}


def test_warm_ups_that_fail(watch, tally):
    tally.start(6, "swap to a version whose warm-up fails: old one serves", len(WARM_UPS))
    for name, damage in WARM_UPS.items():
        version = watch.next_version()
        watch.folder.stage(version, 1)
        tower = watch.folder.staged(USER_TOWER, version)
        damage(tower / WARMUP_FILE)
        _reseal(tower)
        tally.count(watch.refuses(version, "warm-up failed"), name)


def _unit_vectors(seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((2000, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _write_bundle(folder: Path, seed: int) -> Path:
    folder.mkdir()
    vectors = _unit_vectors(seed)
    index = ScannIndex.build(vectors, ScannParameters(40, 8, 200, spherical=True))
    values = {"fingerprint": "f", "similarity": "cosine", "recall@100": 1.0}
    write_bundle(folder, ItemVocabulary([f"i{row}" for row in range(2000)]), vectors, index, values)
    return folder


def test_an_index_that_finds_less_than_it_promised(tmp_path, tally):
    """The self-check at load: every checksum is right, and the searcher is another one's."""
    rounds = 10
    tally.start(21, "index that finds less than it promised: refused at load", rounds)
    good = _write_bundle(tmp_path / "good", 0)
    open_bundle(good)
    for seed in range(1, rounds + 1):
        broken = shutil.copytree(good, tmp_path / f"broken{seed}")
        other = _write_bundle(tmp_path / f"other{seed}", seed)
        shutil.rmtree(broken / SCANN_DIR_NAME)
        (other / SCANN_DIR_NAME).rename(broken / SCANN_DIR_NAME)
        _reseal(broken)
        try:
            open_bundle(broken)
        except InputError as error:
            tally.count("of the items it must find" in str(error), error)
        else:
            tally.count(False, f"bundle {seed} was opened")
