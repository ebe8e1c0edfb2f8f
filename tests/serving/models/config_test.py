from pathlib import Path

import pytest

import serving
from recall.errors import InputError
from serving.batching import options as batching_options
from serving.batching.options import BatchingOptions
from serving.models.config import ModelEntry, read_models_config
from serving.models.version_policy import ALL_VERSIONS, LATEST, VersionPolicy, specific_versions
from serving.monitoring.options import DEFAULT_PATH, MonitoringOptions, read_monitoring_options
from serving.servables.release_source import RELEASE_MODELS

SHIPPED = Path(serving.__file__).parent / "config"


def _write(tmp_path, text):
    path = tmp_path / "some.config"
    path.write_text(text)
    return path


def _models(*entries):
    return "model_config_list {\n" + "\n".join(f"config {{ {e} }}" for e in entries) + "\n}"


def test_shipped_files_are_valid():
    config = read_models_config(SHIPPED / "models.config", RELEASE_MODELS)
    assert config == (ModelEntry(Path("/models/user_tower"), LATEST, {}), {})
    options = batching_options.read_batching_options(SHIPPED / "batching.config")
    assert options == BatchingOptions(allowed_batch_sizes=(1, 8, 16, 32))
    assert read_monitoring_options(SHIPPED / "monitoring.config") == MonitoringOptions()


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", LATEST),
        ("model_version_policy { latest {} }", LATEST),
        ("model_version_policy { latest { num_versions: 3 } }", VersionPolicy(num_latest=3)),
        ("model_version_policy { all {} }", ALL_VERSIONS),
        (
            "model_version_policy { specific { versions: 3 versions: 5 } }",
            specific_versions([3, 5]),
        ),
    ],
)
def test_policies(tmp_path, text, policy):
    entry = f'name: "m" base_path: "/models/m" {text} version_labels {{ key: "stable" value: 3 }}'
    config = read_models_config(_write(tmp_path, _models(entry)), RELEASE_MODELS)
    assert config == (None, {"m": ModelEntry(Path("/models/m"), policy, {"stable": 3})})


TOWER = 'name: "user_tower" base_path: "/m/u"'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("model_config_list {", "is no ModelServerConfig in text form: line 1"),
        ("modelconfig {}", 'no field named "modelconfig"'),
        ("", "Only a `model_config_list`"),
        (_models('name: "../etc" base_path: "/m"'), "'../etc' is no name of a model"),
        (_models('name: "a/b" base_path: "/m"'), "is no name of a model"),
        (_models('base_path: "/m"'), "'' is no name of a model"),
        (_models('name: "m" base_path: "m"'), "must be absolute, received 'm'"),
        (_models('name: "m" base_path: "gs://b/m"'), "base_path=gs://b/m is not on this machine"),
        (_models('name: "m" base_path: "/m" model_platform: "caffe"'), "only 'tensorflow'"),
        (_models('name: "m" base_path: "/m"', 'name: "m" base_path: "/n"'), "`m` is listed twice"),
        (_models(TOWER, TOWER), "`user_tower` is listed twice"),
        (
            _models(TOWER, 'name: "item_tower" base_path: "/m/i" model_version_policy { all {} }'),
            "`user_tower` and `item_tower` belong to one release",
        ),
        (
            _models('name: "m" base_path: "/m" model_version_policy { specific {} }'),
            "asks for specific versions and names none",
        ),
    ],
)
def test_errors_name_the_file(tmp_path, text, error):
    path = _write(tmp_path, text)
    with pytest.raises(InputError, match=error) as caught:
        read_models_config(path, RELEASE_MODELS)
    assert f"--model_config_file={path}" in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read --model_config_file=.*: No such file"):
        read_models_config(tmp_path / "none", RELEASE_MODELS)


def test_batching_parameters(tmp_path):
    text = "max_batch_size { value: 64 } batch_timeout_micros { value: 1500 }"
    options = batching_options.read_batching_options(_write(tmp_path, text))
    assert options == BatchingOptions(
        max_batch_size=64, batch_timeout_s=0.0015, pad_variable_length_inputs=False
    )
    assert options.capacity == 512


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_size { value: 0 }", "`max_batch_size` must be at least 1, received 0"),
        ("batch_timeout_micros { value: -1 }", r"must be in \[0, 60000000\], .* received -1"),
        ("batch_timeout_micros { value: 9200000000000000000 }", "a minute, received 92"),
        ("allowed_batch_sizes: 8", r"must increase and end with `max_batch_size` = 32.*\[8\]"),
        ("allowed_batch_sizes: [8, 4, 32]", "must increase"),
        ("max_batch: 3", 'no field named "max_batch"'),
    ],
)
def test_batching_errors(tmp_path, text, error):
    with pytest.raises(InputError, match=error):
        batching_options.read_batching_options(_write(tmp_path, text))


def test_monitoring(tmp_path):
    read = read_monitoring_options
    assert read(_write(tmp_path, "")).path is None
    assert read(_write(tmp_path, "prometheus_config { enable: true }")).path == DEFAULT_PATH
    text = 'prometheus_config { enable: true path: "%s" }'
    assert read(_write(tmp_path, text % "/metrics")).path == "/metrics"
    for path in ("metrics", "/v1/models/m", "/{x:y}"):
        with pytest.raises(InputError, match="`path` must start with '/'"):
            read(_write(tmp_path, text % path))
