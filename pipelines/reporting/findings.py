"""What a reader of a run must know, in words. Imports no TensorFlow."""

from pipelines.evaluation import remarks
from pipelines.ingestion import warning_lines
from pipelines.reporting.run_folder import RunFolder


def find(run: RunFolder, other: RunFolder | None) -> list[str]:
    """Warnings about a run, each a sentence or two; none where all is as it should be."""
    lines = []
    if run.evaluation is not None:
        lines += remarks.remarks(run.evaluation)
    if run.ingest_report is not None:
        prefix = warning_lines.PREFIX
        said = run.ingest_report.get("lines", ())
        lines += [line.removeprefix(prefix) for line in said if line.startswith(prefix)]
    return [line[:1].upper() + line[1:] for line in lines]
