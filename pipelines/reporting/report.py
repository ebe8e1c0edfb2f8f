"""`report.html`: one file about a run that opens anywhere. Imports no TensorFlow."""

import base64
import dataclasses
import hashlib
import logging
import os
import time
import uuid
from pathlib import Path

from markupsafe import Markup

import recall
from pipelines.reporting import (
    findings,
    index_section,
    interests_section,
    lists_section,
    log_section,
    overview,
    pages,
    provenance_section,
    quality_section,
    slices_section,
    training_section,
    users_section,
)
from pipelines.reporting.run_folder import RunFolder
from recall.errors import InputError
from serving.release import storage

REPORT_NAME = "report.html"

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
    path = Path(output or Path(run_dir) / REPORT_NAME)
    text = build_report(run_dir, compare_dir)
    _write_text(path, text)
    _log.info("Report: %s (%.1f MB, %.1f s).", path, len(text) / 1e6, time.monotonic() - started_s)
    return path


def build_report(run_dir: str | Path, compare_dir: str | Path | None = None) -> str:
    """The report of a run as HTML; see `write_report`."""
    run = RunFolder.read(run_dir)
    other = None if compare_dir is None else _read_other(run, compare_dir)
    sections = [
        quality_section.build(run, other),
        slices_section.build(run),
        interests_section.build(run),
        users_section.build(run),
        lists_section.build(run, other),
        training_section.build(run, other),
        log_section.build(run),
        index_section.build(run),
        provenance_section.build(run, other),
    ]
    style, script = (Markup(pages.read(name)) for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = pages.environment().get_template("report.html.j2")
    return template.render(
        run=run,
        other=other,
        head=overview.build(run, other),
        findings=findings.find(run),
        sections=sections,
        style=style,
        script=script,
        script_hash=digest,
        version=recall.__version__,
    )


def _read_other(run: RunFolder, compare_dir: str | Path) -> RunFolder:
    """The run to compare with, by another name than the first one's."""
    other = RunFolder.read(compare_dir)
    if other.name == run.name:
        return dataclasses.replace(other, name=str(compare_dir))
    return other


def _write_text(path: Path, text: str) -> None:
    """Writes a file that readers see whole, or as it was."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        storage.fsync_path(partial)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"Cannot write {path}: {error.strerror}.") from error
