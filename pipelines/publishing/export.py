"""The export job: a trained model -> SavedModels of both towers.

Thin over `serving.release.export`; it adds the artifact's record and the vocabulary.
"""

from pathlib import Path
from typing import Any

from pipelines.artifacts import provenance, records, trained_model
from serving.release import export as tower_export
from serving.release import folders

_JOB = "export"


def export_record(model_dir: str | Path) -> dict[str, Any]:
    """The record of an export of the model in `model_dir`.

    Raises:
        InputError: There is no finished model.
    """
    return records.build_record(
        _JOB, settings={}, inputs={"model": records.checksum_of_record(model_dir, "train")}
    )


@provenance.measured
def run_export(model_dir: str | Path, export_dir: str | Path) -> dict[str, Any]:
    """Exports the best checkpoint of a model.

    Args:
        model_dir: Folder of a finished `recall train`.
        export_dir: Folder to write: `user_tower/`, `item_tower/`,
            `vocabulary.parquet` and a manifest over them. It appears whole, or
            stays as it was.

    Returns:
        The manifest.

    Raises:
        InputError: The model is missing or damaged.
    """
    record = export_record(model_dir)
    trained = trained_model.load_model(model_dir)
    with folders.atomic_directory(export_dir) as staging:
        records.write_vocabulary(staging, trained.vocabulary)
        manifest = tower_export.export_towers(
            trained.model.user_tower,
            trained.model.item_tower,
            trained.vocabulary,
            trained.config,
            staging,
        )
        records.write_record(staging, record)
    return manifest
