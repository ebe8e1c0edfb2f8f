"""The packages: their versions, conflicts, and settings of the environment. No TensorFlow here."""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

import recall
from pipelines.inspection.findings import BROKEN, NOTE, OK, SLOW, Finding

_ROOT = Path(recall.__file__).parents[1]
_EXTRAS = ("serve", "train")
"""Of the installation, those that users choose; what they lack is no fault."""

_SHOWN = ("tensorflow", "tf_keras", "scann", "tensorflow-recommenders", "apache-beam", "numpy")
_TENSORFLOWS = (
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-gpu",
    "tensorflow-intel",
    "tensorflow-macos",
    "tf-nightly",
    "tf-nightly-cpu",
    "intel-tensorflow",
)
"""Distributions that write the same folder `tensorflow`."""


def check_versions() -> Finding:
    """Whether the installed packages are those that this version asks for."""
    facts = {"python": ".".join(map(str, sys.version_info[:3])), "recall": recall.__version__}
    for name in _SHOWN:
        facts[name] = version_of(name)
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in facts.items())
    wrong, missing = _unmet()
    if wrong is None:
        remedy = "Install it: `make install` in the source, or `pip install` of a wheel."
        return Finding("versions", NOTE, f"{text}. recall is not installed.", remedy, facts)
    if wrong:
        return Finding(
            "versions",
            BROKEN,
            f"{text}. Not as recall needs them: {', '.join(wrong)}.",
            "Install recall anew into an environment of its own, with the versions of "
            "constraints.txt: pip install recall -c constraints.txt",
            facts,
        )
    if missing:
        lacking = "; ".join(f"[{extra}] lacks {', '.join(of)}" for extra, of in missing.items())
        remedy = f"Only where it is wanted: pip install 'recall[{','.join(missing)}]'"
        return Finding("versions", NOTE, f"{text}. {lacking}.", remedy, facts | {"lacks": missing})
    return Finding("versions", OK, f"{text}.", "", facts)


def version_of(name: str) -> str | None:
    """The installed version of a package, None where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _unmet() -> tuple[list[str] | None, dict[str, list[str]]]:
    """Needs of recall that are not met.

    Returns:
        What is there in a wrong version, or is always needed and missing; None where recall is
        not installed as a package. And what each extra lacks.
    """
    from packaging.requirements import Requirement

    try:
        needs = [Requirement(text) for text in importlib.metadata.requires("recall") or []]
    except importlib.metadata.PackageNotFoundError:
        return None, {}
    wrong, missing = [], {}
    for extra in ("", *_EXTRAS):
        for need in needs:
            is_of_all = need.marker is None or need.marker.evaluate({"extra": ""})
            if is_of_all != (extra == "") or (extra and not need.marker.evaluate({"extra": extra})):
                continue
            version = version_of(need.name)
            if version is None and extra:
                missing.setdefault(extra, []).append(need.name)
            elif version is None:
                wrong.append(f"{need.name} is missing")
            elif not need.specifier.contains(version, prereleases=True):
                wrong.append(f"{need.name} {version} instead of {need.specifier}")
    return list(dict.fromkeys(wrong)), missing


def check_conflicts() -> Finding:
    """Packages that write the same folders as ours, or as TensorFlow."""
    tensorflows = [name for name in _TENSORFLOWS if version_of(name) is not None]
    foreign = [
        f"{name} ({path})"
        for name in ("recall", "serving", "pipelines")
        if (path := _folder_of(name)) is not None and path.parent != _ROOT
    ]
    facts = {"tensorflows": tensorflows, "foreign": foreign}
    if len(tensorflows) > 1:
        others = " ".join(tensorflows[1:])
        return Finding(
            "conflicts",
            BROKEN,
            f"Several packages of TensorFlow share one folder: {', '.join(tensorflows)}.",
            f"pip uninstall {others}, then pip install --force-reinstall --no-deps tensorflow "
            "-c constraints.txt",
            facts,
        )
    if foreign:
        return Finding(
            "conflicts",
            BROKEN,
            f"Other packages have the names of ours: {', '.join(foreign)}.",
            "Install recall into an environment of its own, and look at PYTHONPATH.",
            facts,
        )
    return Finding("conflicts", OK, "none.", "", facts)


def _folder_of(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent


def check_settings(environment: dict[str, str] | None = None) -> list[Finding]:
    """Variables of the environment that change what TensorFlow and numpy do."""
    given = dict(os.environ) if environment is None else environment
    findings = []
    legacy = given.get("TF_USE_LEGACY_KERAS")
    if legacy is not None and legacy.lower() not in ("1", "true"):
        findings.append(
            Finding(
                "keras",
                NOTE,
                f"TF_USE_LEGACY_KERAS={legacy} asks for Keras 3; recall sets it to 1.",
                "Unset it. In a program of yours, import recall before tensorflow.",
                {"TF_USE_LEGACY_KERAS": legacy},
            )
        )
    cores = len(os.sched_getaffinity(0))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        value = given.get(name, "")
        if value.isdigit() and 0 < int(value) < cores:
            findings.append(
                Finding(
                    name,
                    SLOW,
                    f"{value} of {cores} cores are used.",
                    f"Unset {name}, unless the others are for other work.",
                    {name: int(value)},
                )
            )
    if given.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        findings.append(
            Finding(
                "oneDNN",
                SLOW,
                "TF_ENABLE_ONEDNN_OPTS=0: a training step takes up to 1.6 times as long.",
                "Unset TF_ENABLE_ONEDNN_OPTS; recall sets it to 1.",
                {"TF_ENABLE_ONEDNN_OPTS": "0"},
            )
        )
    return findings
