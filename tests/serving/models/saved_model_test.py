import gc
import shutil

import numpy as np
import pytest
import tensorflow as tf

from recall.errors import InputError
from serving.models.saved_model import SavedModelServable
from serving.protocol import warmup
from serving.protocol.status import Code, ServingError
from tests.waiting import wait_for


class Adder(tf.Module):
    """x + y, with a divisor that can make the graph fail."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="x"),
            tf.TensorSpec([], tf.int32, name="y"),
        ]
    )
    def add(self, x, y):
        tf.debugging.assert_less(y, 100, message="y is too large")
        return {"total": x + tf.cast(y, tf.float32), "y_squared": y * y}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adder")
    module = Adder()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.add})
    return folder


@pytest.fixture(scope="module")
def servable(model_dir):
    return SavedModelServable("adder", 1, model_dir)


def _inputs(y=3):
    return {"x": np.array([[1.0, 2.0]], np.float32), "y": np.array(y, np.int32)}


def test_predict(servable):
    outputs = servable.predict("", _inputs())
    assert outputs["total"].tolist() == [[4.0, 5.0]]
    assert outputs["y_squared"].tolist() == 9
    assert servable.predict("serving_default", _inputs(), ["total"]).keys() == {"total"}


def _error(servable, inputs, signature_name="", output_filter=()):
    with pytest.raises(ServingError) as caught:
        servable.predict(signature_name, inputs, output_filter)
    return caught.value.code, caught.value.message


def test_wrong_inputs(servable):
    assert _error(servable, {"x": _inputs()["x"]}) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 1!=2 len({x}) != len({x,y}). "
        "Sent extra: {}. Missing but required: {y}.",
    )
    assert _error(servable, {**_inputs(), "z": np.zeros(1)}) == (
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 3!=2 len({x,y,z}) != len({x,y}). "
        "Sent extra: {z}. Missing but required: {}.",
    )
    code, message = _error(servable, {**_inputs(), "y": np.array(3, np.int64)})
    assert code == Code.INVALID_ARGUMENT
    assert "Expects arg[1] to be int32 but int64 is provided" in message
    code, message = _error(servable, {**_inputs(), "x": np.zeros((1, 3), np.float32)})
    assert code == Code.INVALID_ARGUMENT
    assert "Input x has the shape [1, 3], the signature asks for [-1, 2]" in message


def test_wrong_signature_and_outputs(servable):
    for name in ("nope", "__saved_model_init_op"):
        assert _error(servable, _inputs(), name) == (
            Code.FAILED_PRECONDITION,
            f'Serving signature key "{name}" not found.',
        )
    code, message = _error(servable, _inputs(), output_filter=["total", "nope"])
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith("output tensor alias not found in signature: nope")
    assert _error(servable, _inputs(), output_filter=["total", "total"]) == (
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: total",
    )


def test_error_inside_the_graph_keeps_its_code_in_one_line(servable):
    code, message = _error(servable, _inputs(y=100))
    assert code == Code.INVALID_ARGUMENT
    assert "\n" not in message


def test_metadata_is_that_of_the_file(servable):
    signature = servable.signature_defs["serving_default"]
    assert sorted(signature.inputs) == ["x", "y"]
    assert [dim.size for dim in signature.inputs["x"].tensor_shape.dim] == [-1, 2]
    assert signature.method_name == "tensorflow/serving/predict"


def _requests(*values):
    for y in values:
        record = warmup.Record()
        for name, array in _inputs(y).items():
            record.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        yield record


def _copy_with_warm_up(model_dir, tmp_path, records):
    copy = shutil.copytree(model_dir, tmp_path / "model")
    warmup.write_requests(copy, records)
    return SavedModelServable("adder", 1, copy)


def test_warm_up_runs_every_record(model_dir, tmp_path):
    _copy_with_warm_up(model_dir, tmp_path, _requests(1, 2)).warm_up()


def test_one_bad_warm_up_record_fails(model_dir, tmp_path):
    servable = _copy_with_warm_up(model_dir, tmp_path, _requests(1, 100))
    with pytest.raises(InputError, match="failed after 1 records"):
        servable.warm_up()


def test_too_many_warm_up_records(model_dir, tmp_path):
    servable = _copy_with_warm_up(model_dir, tmp_path, _requests(*[1] * 1001))
    with pytest.raises(InputError, match="more than 1000 records"):
        servable.warm_up()


def test_damaged_warm_up_file(model_dir, tmp_path):
    servable = _copy_with_warm_up(model_dir, tmp_path, _requests(1))
    path = tmp_path / "model" / warmup.WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="warm-up failed"):
        servable.warm_up()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x01" * 20])
def test_damaged_model(model_dir, tmp_path, content):
    copy = shutil.copytree(model_dir, tmp_path / "model")
    (copy / "saved_model.pb").write_bytes(content)
    with pytest.raises(InputError, match="holds no SavedModel"):
        SavedModelServable("adder", 1, copy)


def test_missing_weights(release_dir, tmp_path):
    copy = shutil.copytree(release_dir / "user_tower" / "3", tmp_path / "model")
    shutil.rmtree(copy / "variables")
    with pytest.raises(InputError, match="holds no SavedModel"):
        SavedModelServable("user_tower", 1, copy)


class Vocabulary(tf.Module):
    """Numbers of two words; unknown ones have -1."""

    def __init__(self):
        super().__init__()
        words = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([7, 8]))
        self.table = tf.lookup.StaticHashTable(words, default_value=-1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def find(self, words):
        return {"numbers": self.table.lookup(words)}


def _load_words(folder, version=1):
    """A servable with a table, and the handle of the table."""
    servable = SavedModelServable("words", version, folder)
    (handle,) = [
        child.resource_handle
        for child in tf.train.TrackableView(servable._model).descendants()
        if isinstance(child, tf.saved_model.experimental.TrackableResource)
    ]
    return servable, handle


def _is_freed(handle):
    try:
        tf.raw_ops.LookupTableSizeV2(table_handle=handle)
    except tf.errors.NotFoundError:
        return True
    return False


@pytest.fixture
def words_folder(tmp_path):
    module = Vocabulary()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.find})
    return tmp_path


def test_tables_are_freed_when_the_last_user_is_gone(words_folder):
    """TensorFlow keeps a table by its name: every version's vocabulary would stay."""
    servable, handle = _load_words(words_folder)
    other, _ = _load_words(words_folder, 2)
    predict, inputs = servable.predict, {"words": np.array([b"b", b"?"], object)}
    del servable
    gc.collect()
    assert predict("", inputs)["numbers"].tolist() == [8, -1]  # A request that is still running.
    assert tf.raw_ops.LookupTableSizeV2(table_handle=handle).numpy() == 2
    del predict
    gc.collect()
    wait_for(lambda: _is_freed(handle))
    assert other.predict("", inputs)["numbers"].tolist() == [8, -1]


def test_a_collection_amid_other_work_runs_no_operation_there(words_folder):
    """Garbage is collected in any thread, also while it traces a graph or waits for a lock."""
    servable, handle = _load_words(words_folder)
    with tf.Graph().as_default() as graph:
        del servable
        gc.collect()
        assert graph.get_operations() == []
    wait_for(lambda: _is_freed(handle))
