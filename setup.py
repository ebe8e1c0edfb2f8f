"""Packaging of the `recall` command and its three packages."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_ROOT = Path(__file__).parent

# The versions are those that work together: tensorflow-recommenders needs Keras 2
# (`tf_keras`), and the TensorFlow that `scann[tf]` is compiled for. constraints.txt
# pins everything, also what these packages need in turn.
_REQUIRES = [
    "absl-py>=2.1",
    # The report of a run: drawings, which `vl-convert-python` turns into SVG, and pages.
    "altair>=6,<7",
    "apache-beam>=2.77",
    "array_record>=0.8",
    "grpcio>=1.80",
    # 1.82 needs protobuf 7, which tensorflow 2.20 refuses.
    "grpcio-health-checking>=1.80,<1.82",
    "grpcio-reflection>=1.80,<1.82",
    "h11>=0.16,<0.17",
    "httpcore[asyncio]>=1.0,<2",
    # `tensorflow-datasets` imports it without naming it among its own needs.
    "importlib_resources>=6.0",
    "jinja2>=3.1",
    "markupsafe>=2.1",
    "ml_dtypes>=0.5",
    "numpy>=2.0",
    "packaging>=24",
    "prometheus-client>=0.22",
    # `serving/protocol/*_pb2.py` are made for this one and later.
    "protobuf>=6.31",
    "pyarrow>=18",
    # The live line of long jobs.
    "rich>=13",
    "scann[tf]==1.4.2",
    "starlette>=1.10,<2",
    "tensorboard>=2.20,<2.21",
    "tensorflow>=2.20,<2.21",
    "tensorflow-datasets>=4.9.9",
    "tensorflow-metadata>=1.17",
    "tensorflow-recommenders==0.7.7",
    "tensorflow-serving-api>=2.20,<2.21",
    "tf_keras>=2.20,<2.21",
    "typing_extensions>=4.12",
    # `serving/http_door/h11_protocol.py` builds on the insides of its class of connections on h11.
    "uvicorn>=0.54,<0.55",
    "uvloop>=0.21",
    "vl-convert-python>=1.9,<2",
    # `tensorboard` imports pkg_resources, which setuptools 82 no longer has.
    "setuptools>=77,<82",
]
_TEST = [
    "axe-playwright-python",
    "build",
    "hypothesis",
    "ir_measures",
    "playwright",
    "pytest",
    "pytest-xdist",
    "scipy",
    "trustme",
    "wheel",
]
_LINT = ["ruff"]
# The pages of docs/ as a site (`make docs`).
_DOCS = ["mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings[python]>=0.30"]
# Spans of requests (`recall serve --otlp_endpoint`).
_OTEL = [
    "opentelemetry-api>=1.30",
    "opentelemetry-exporter-otlp-proto-grpc>=1.30",
    "opentelemetry-sdk>=1.30",
]

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
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["recall*", "pipelines*", "serving*"]),
    package_data={
        "pipelines": ["reporting/page/templates/*"],
        "serving": ["config/*.config", "protocol/*.proto"],
    },
    install_requires=_REQUIRES,
    extras_require={
        "test": _TEST + _OTEL,
        "lint": _LINT,
        "otel": _OTEL,
        "docs": _DOCS,
        "dev": _TEST + _LINT + _OTEL + _DOCS,
    },
    entry_points={"console_scripts": ["recall=pipelines.cli:main"]},
)
