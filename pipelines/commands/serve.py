"""The command `recall serve`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from pipelines.commands.shared import console_log, folders, http_flags, tls_flags
from pipelines.commands.shared.flags import Command, FlagSpec, port_flag
from recall.errors import InputError
from serving.stores import urls

if TYPE_CHECKING:
    from serving.network.tls import TlsFiles
    from serving.server_options import ServerOptions


COMMAND = Command(
    summary="Answers recall requests from a published release, over gRPC and HTTP.",
    description="One process: TensorFlow Serving's gRPC and REST protocols for the models "
    "`recall`, `items`, `user_tower` and `item_tower`, POST /recall and /items in plain JSON, "
    "/healthz and /readyz, and in a browser the interest explorer at /. Stop it with Ctrl-C.",
    examples=(
        "serve --release=runs/mine/serving --grpc_port=8500 --http_port=8501",
        "serve --release=s3://bucket/serving --release_cache=/var/lib/recall",
        "serve --release=runs/mine/serving --tf_serving_address=127.0.0.1:9000",
    ),
    flags={
        "release": folders.flag(
            "The serving/ folder that `recall run` or `recall push` wrote, here or in an object "
            "store (s3://, gs://, hdfs://).",
            store="url",
        ),
        "release_cache": folders.flag(
            "Where versions of a --release in an object store are copied to, and changes of live "
            "items are kept. Default: a folder in ~/.cache/recall."
        ),
        "host": FlagSpec(
            help="Name or address to listen on, as 127.0.0.1, ::1 or localhost (both); "
            "0.0.0.0 lets other machines in, :: those of IPv4 and IPv6.",
            value="HOST",
            default="127.0.0.1",
        ),
        "grpc_port": port_flag("gRPC port", 8500),
        "http_port": port_flag("HTTP port", 8501),
        "tf_serving_address": FlagSpec(
            help="Takes vectors from a TensorFlow Serving at this address instead of loading "
            "the towers in this process.",
            value="HOST:PORT",
        ),
        "shards": FlagSpec(
            help="Searches the catalogue at these recall servers, in the order of their "
            "shards, instead of the index of --release.",
            value="HOST:PORT,...",
            default=(),
            kind="list",
        ),
        "version_labels": FlagSpec(
            help="Labels by which clients of the TensorFlow Serving protocol may name the "
            "newest version. Labels of other versions go into --model_config_file.",
            value="NAMES",
            default=(),
            kind="list",
        ),
        "model_config_file": FlagSpec(
            help="Versions, labels and further models, in TensorFlow Serving's format "
            "(ModelServerConfig as text). The package holds an example, "
            "serving/config/models.config.",
            value="FILE",
            kind="path",
            store="read",
        ),
        "batching_parameters_file": FlagSpec(
            help="How requests for the user tower share batches, in TensorFlow Serving's format "
            "(BatchingParameters as text). Without it batches are made by the defaults, which hold "
            "too for what a file leaves out, except pad_variable_length_inputs, which is then "
            "false: only histories of equal length share a batch.",
            value="FILE",
            kind="path",
            store="read",
        ),
        "monitoring_config_file": FlagSpec(
            help="Where Prometheus finds metrics, in TensorFlow Serving's format "
            "(MonitoringConfig as text). Without it: /monitoring/prometheus/metrics of the HTTP "
            "port.",
            value="FILE",
            kind="path",
            store="read",
        ),
        "file_system_poll_wait_seconds": FlagSpec(
            help="Seconds between looks for new versions of the release; 0 looks once, at the "
            "start.",
            value="N",
            default=1.0,
            kind="float",
            minimum=0,
        ),
        "tls_certificate": FlagSpec(
            help="Certificate chain (PEM): both ports speak TLS.", value="FILE", kind="path"
        ),
        "tls_key": FlagSpec(
            help="Private key of the certificate (PEM).", value="FILE", kind="path"
        ),
        "tls_client_ca": FlagSpec(
            help="Authorities (PEM): both ports then refuse clients without a certificate of them.",
            value="FILE",
            kind="path",
        ),
        **tls_flags.client_flags("tf_serving_", "the server of --tf_serving_address"),
        **tls_flags.client_flags("shards_", "the servers of --shards"),
        "admin_token_file": FlagSpec(
            help="File with the token of admin calls (changes of items, a reload of the "
            "configuration). Without it they are open to this machine and closed when --host lets "
            "other machines in.",
            value="FILE",
            kind="path",
        ),
        "max_in_flight": FlagSpec(
            help="Requests in work at a time; the excess is refused at once.",
            value="N",
            default=64,
            kind="integer",
            minimum=1,
            maximum=1024,
        ),
        "max_request_mb": FlagSpec(
            help="Memory, in MiB, that one request may take, read and decoded: 520,000 item ids "
            "in all. A larger one is refused before it is decoded; gRPC messages are no larger "
            "either.",
            value="N",
            default=64,
            kind="integer",
            minimum=1,
            maximum=1024,
        ),
        "max_requests_mb": FlagSpec(
            help="Memory, in MiB, that all requests in work may take together; the excess is "
            "refused.",
            value="N",
            default=256,
            kind="integer",
            minimum=1,
            maximum=65536,
        ),
        "drain_s": FlagSpec(
            help="Seconds between saying `not serving` and refusing requests when the server is "
            "stopped, for load balancers to notice.",
            value="N",
            default=1.0,
            kind="float",
            minimum=0,
            maximum=60,
        ),
        **http_flags.FLAGS,
    },
    required=("release",),
    extra="serve",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Serves until it is stopped."""
    release_dir = values.release
    if not urls.is_url(release_dir):
        folders.require("release", release_dir)
        if values.release_cache:
            raise InputError("--release_cache is for a --release in an object store.")
    from serving import server

    options = read_server_options(values)
    if values.log_format == "json":
        console_log.log_json()
    server.serve(release_dir, options)


def read_server_options(values: flags.FlagValues) -> "ServerOptions":
    """The options of the server, with the files read that flags name.

    Raises:
        InputError: A file cannot be used, or the flags contradict each other.
    """
    from serving.batching.options import read_batching_options
    from serving.doors import admin
    from serving.models import config
    from serving.monitoring.options import read_monitoring_options
    from serving.servables.release_source import RELEASE_MODELS
    from serving.server_options import ServerOptions

    if values.max_requests_mb < values.max_request_mb:
        raise InputError(
            f"--max_requests_mb={values.max_requests_mb} must be at least --max_request_mb="
            f"{values.max_request_mb}: all requests together take no less than one."
        )
    changes = {}
    if values.model_config_file:
        changes["config"] = config.read_models_config(values.model_config_file, RELEASE_MODELS)
    if values.batching_parameters_file:
        changes["batching"] = read_batching_options(values.batching_parameters_file)
    if values.monitoring_config_file:
        changes["monitoring"] = read_monitoring_options(values.monitoring_config_file)
    if values.admin_token_file:
        admin.read_token(values.admin_token_file)  # Refused here, before anything else is done.
        changes["admin_token_file"] = values.admin_token_file
    return ServerOptions(
        host=values.host,
        grpc_port=values.grpc_port,
        http_port=values.http_port,
        tf_serving_address=values.tf_serving_address,
        tf_serving_tls=tls_flags.read_client_tls(values, "tf_serving_", "tf_serving_address"),
        shards=tuple(values.shards),
        shards_tls=tls_flags.read_client_tls(values, "shards_", "shards"),
        version_labels=tuple(values.version_labels),
        release_cache=values.release_cache,
        poll_s=values.file_system_poll_wait_seconds,
        tls=_tls_files(values),
        max_in_flight=values.max_in_flight,
        max_request_bytes=values.max_request_mb << 20,
        max_total_bytes=values.max_requests_mb << 20,
        drain_s=values.drain_s,
        **http_flags.read_http_options(values),
        **changes,
    )


def _tls_files(values: flags.FlagValues) -> "TlsFiles | None":
    from serving.network.tls import TlsFiles

    certificate, key, client_ca = values.tls_certificate, values.tls_key, values.tls_client_ca
    if not certificate and not key and not client_ca:
        return None
    if not certificate or not key:
        raise InputError("TLS needs both --tls_certificate=FILE and --tls_key=FILE.")
    return TlsFiles(certificate, key, client_ca or None)
