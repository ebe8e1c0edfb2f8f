import re
from pathlib import Path

import pytest

import serving
from pipelines import cli
from pipelines.commands import serve
from pipelines.commands.shared.flags import UsageError
from recall.errors import InputError
from serving.batching.options import BatchingOptions
from serving.http_door.limits import HttpLimits
from serving.models.config import ModelEntry
from serving.models.version_policy import LATEST
from serving.network.client_tls import ClientTls
from serving.network.tls import TlsFiles
from serving.server_options import ServerOptions

CONFIG = Path(serving.__file__).parent / "config"


def _options(*flags):
    values, _ = cli.parse("serve", ["--release=x", *flags])
    return serve.read_server_options(values)


def test_defaults():
    assert _options() == ServerOptions(drain_s=1.0)


def test_the_help_names_the_one_default_a_file_changes(tmp_path):
    (tmp_path / "empty").write_text("")
    read = _options(f"--batching_parameters_file={tmp_path / 'empty'}").batching
    changed = {
        name for name, value in read._asdict().items() if value != getattr(BatchingOptions(), name)
    }
    assert changed == {"pad_variable_length_inputs"}
    help_text = serve.COMMAND.flags["batching_parameters_file"].help
    assert "except pad_variable_length_inputs, which is then false" in help_text


def test_every_flag_reaches_the_server(tmp_path):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    options = _options(
        "--host=0.0.0.0",
        "--grpc_port=1",
        "--http_port=2",
        "--version_labels=a,b",
        f"--model_config_file={CONFIG / 'models.config'}",
        f"--batching_parameters_file={CONFIG / 'batching.config'}",
        f"--monitoring_config_file={CONFIG / 'monitoring.config'}",
        "--file_system_poll_wait_seconds=3",
        "--tls_certificate=c",
        "--tls_key=k",
        "--tls_client_ca=a",
        "--tf_serving_address=t:1",
        "--tf_serving_tls_server_ca=ta",
        "--tf_serving_tls_certificate=tc",
        "--tf_serving_tls_key=tk",
        "--shards=s:1,s:2",
        "--shards_tls_server_ca=sa",
        f"--admin_token_file={token}",
        "--max_in_flight=5",
        "--max_request_mb=32",
        "--max_requests_mb=64",
        "--drain_s=2",
        "--allowed_hosts=shop.example",
        "--cors_allowed_origins=https://shop.example,http://localhost:3000",
        "--max_http_connections=100",
        "--max_http_connections_per_peer=50",
        "--http_header_timeout_s=1",
        "--http_body_timeout_s=2",
        "--http_idle_timeout_s=3",
        "--http_write_timeout_s=4",
        "--access_log=json",
        "--explorer=false",
        "--otlp_endpoint=http://127.0.0.1:4317",
    )
    assert options == ServerOptions(
        host="0.0.0.0",
        grpc_port=1,
        http_port=2,
        version_labels=("a", "b"),
        config=options.config,
        batching=BatchingOptions(allowed_batch_sizes=(1, 8, 16, 32)),
        poll_s=3.0,
        tls=TlsFiles("c", "k", "a"),
        tf_serving_address="t:1",
        tf_serving_tls=ClientTls("ta", "tc", "tk", "tf_serving_"),
        shards=("s:1", "s:2"),
        shards_tls=ClientTls("sa", flag_prefix="shards_"),
        admin_token_file=str(token),
        max_in_flight=5,
        max_request_bytes=32 << 20,
        max_total_bytes=64 << 20,
        drain_s=2.0,
        allowed_hosts=("shop.example",),
        cors_allowed_origins=("https://shop.example", "http://localhost:3000"),
        http=HttpLimits(1.0, 2.0, 3.0, 4.0, 100, 50),
        access_log="json",
        explorer=False,
        otlp_endpoint="http://127.0.0.1:4317",
    )
    assert options.config.release == ModelEntry(Path("/models/user_tower"), LATEST, {})
    assert not options.is_local


@pytest.mark.parametrize("flag", ["--tls_certificate=c", "--tls_key=k", "--tls_client_ca=a"])
def test_half_of_tls(flag):
    with pytest.raises(InputError, match="needs both --tls_certificate=FILE and --tls_key=FILE"):
        _options(flag)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--shards_tls_server_ca=a"], "--shards_tls_server_ca needs --shards"),
        (["--max_request_mb=300"], "--max_requests_mb=256 must be at least --max_request_mb=300"),
        (
            ["--tf_serving_tls_server_ca=a"],
            "--tf_serving_tls_server_ca needs --tf_serving_address",
        ),
        (
            ["--shards=s:1", "--shards_tls_certificate=c", "--shards_tls_key=k"],
            "A client certificate needs --shards_tls_server_ca=FILE",
        ),
        (
            ["--shards=s:1", "--shards_tls_server_ca=a", "--shards_tls_key=k"],
            "needs .*--shards_tls_certificate=FILE and --shards_tls_key=FILE",
        ),
    ],
)
def test_half_of_the_tls_of_calls(flags, reason):
    with pytest.raises(InputError, match=reason):
        _options(*flags)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--cors_allowed_origins=shop.example", "takes origins, received 'shop.example'"),
        ("--cors_allowed_origins=https://shop.example/a", "without a path"),
        ("--allowed_hosts=shop.example:80", "without a scheme or a port"),
        ("--allowed_hosts=http://shop.example", "without a scheme or a port"),
    ],
)
def test_values_that_make_no_sense(flag, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        _options(flag)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--access_log=yes", "--access_log=yes must be one of off, text, json."),
        ("--log_format=xml", "--log_format=xml must be one of text, json."),
    ],
)
def test_values_that_are_no_choice(flag, reason):
    with pytest.raises(UsageError, match=re.escape(reason)):
        _options(flag)
