"""`report.html`: one file about a run that opens anywhere. Imports no TensorFlow."""

import base64
import dataclasses
import hashlib
import logging
import time
from pathlib import Path

from markupsafe import Markup

import recall
from pipelines.reporting.page import pages
from pipelines.reporting.sections import (
    findings,
    index,
    interests,
    lists,
    log,
    overview,
    provenance,
    quality,
    slices,
    training,
    users,
    validation,
)
from pipelines.reporting.sections.run_folder import RunFolder
from recall.errors import InputError
from serving.release import storage

HTML_NAME = "report.html"

_log = logging.getLogger(__name__)


def write_report(
    run_dir: str | Path,
    compare_dir: str | Path | None = None,
    output: str | Path | None = None,
) -> Path:
    """Writes the report of a run.

    Args:
        run_dir: Folder of a run; jobs that are missing leave gaps that the report names.
        compare_dir: Folder of another run, set beside it.
        output: File to write; None means `report.html` in the folder of the run.

    Returns:
        The file. It appears whole, or stays as it was.

    Raises:
        InputError: A folder is none of a run, or the file cannot be written.
    """
    started_s = time.monotonic()
    path = Path(output or Path(run_dir) / HTML_NAME)
    text = build_report(run_dir, compare_dir)
    try:
        storage.write_text(path, text)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}.") from error
    _log.info("Report: %s (%.1f MB, %.1f s).", path, len(text) / 1e6, time.monotonic() - started_s)
    return path


def build_report(run_dir: str | Path, compare_dir: str | Path | None = None) -> str:
    """The report of a run as HTML; see `write_report`."""
    run = RunFolder.read(run_dir)
    other = None if compare_dir is None else _read_other(run, compare_dir)
    sections = [
        quality.build(run, other),
        slices.build(run, other),
        interests.build(run),
        users.build(run),
        lists.build(run, other),
        training.build(run, other),
        log.build(run),
        validation.build(run),
        index.build(run),
        provenance.build(run, other),
    ]
    style, script = (Markup(pages.read(name)) for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = pages.environment().get_template("report.html.j2")
    return template.render(
        run=run,
        other=other,
        head=overview.build(run, other),
        findings=findings.find(run, other),
        sections=sections,
        style=style,
        script=script,
        script_hash=digest,
        version=recall.__version__,
    )


def _read_other(run: RunFolder, compare_dir: str | Path) -> RunFolder:
    """The run to compare with, by a name that nothing else in a figure has."""
    other = RunFolder.read(compare_dir)
    if other.name in (run.name, *quality.RANKERS, lists.CLICKED_NEXT):
        # The last two folders: a name of one folder has no slash.
        return dataclasses.replace(other, name="/".join(other.directory.resolve().parts[-2:]))
    return other
