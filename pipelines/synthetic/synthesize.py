"""Writes a synthetic log with planted interests as files: `recall synthesize`."""

from pathlib import Path

from absl import logging

from pipelines.synthetic import source
from pipelines.synthetic.config import SyntheticConfig
from recall.errors import InputError

FORMATS = ("csv.gz", "csv", "parquet")
"""What the files can be."""


def run_synthesize(
    output_dir: str | Path,
    config: SyntheticConfig,
    *,
    file_format: str = "csv.gz",
    overwrite: bool = False,
) -> tuple[Path, Path]:
    """Writes `events.<format>` and `items.<format>`, each whole or not at all.

    Args:
        output_dir: Folder of the two files; created when it does not exist.
        config: The planted world.
        file_format: One of `FORMATS`.
        overwrite: Whether files of these names are replaced.

    Returns:
        Paths of the events and the items file.

    Raises:
        InputError: The format is unknown, a file exists, or the folder cannot
            be written to.
    """
    if file_format not in FORMATS:
        raise InputError(f"--format={file_format} is unknown; use one of {', '.join(FORMATS)}.")
    output_dir = Path(output_dir)
    paths = tuple(output_dir / f"{name}.{file_format}" for name in ("events", "items"))
    for path in paths:
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists. Choose another --output, or pass --overwrite.")
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot create --output={output_dir}: {error.strerror}.") from error
    num_events = source.write_log(config, *paths)
    logging.info("Wrote %d events to %s, their items to %s", num_events, *paths)
    return paths
