"""What a push publishes: the parts of a run's release, checked to belong together and blessed.

Imports no TensorFlow. Where they are published is the matter of `push.py` (folders) and
`store_push.py` (object stores).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pipelines.artifacts import records
from pipelines.evaluation import blessing
from pipelines.evaluation.blessing import BLESSED, NOT_BLESSED
from pipelines.reporting import model_card
from recall.errors import InputError
from serving.release import manifest as manifests
from serving.release import release, storage


class ReleasePart(NamedTuple):
    """One folder of a release: where it comes from and what it holds.

    Attributes:
        name: `index`, `item_tower` or `user_tower`.
        source: Folder the files are copied from.
        files: Path within `source` -> SHA-256.
        values: What its manifest says beside the files.
        texts: Files that are written, not copied: name -> content.
    """

    name: str
    source: Path
    files: Mapping[str, str]
    values: Mapping[str, Any]
    texts: Mapping[str, str] = MappingProxyType({})

    @property
    def remedy(self) -> str:
        """What to do when one of its files is damaged."""
        if self.name == release.INDEX:
            return records.how_to_renew(self.source, "index")
        return records.how_to_renew(self.source.parent, "export")


def copied_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Checksums by name without the card's: releases of earlier versions have none."""
    return {name: sum_ for name, sum_ in manifest["files"].items() if name not in model_card.NAMES}


def require_blessed(evaluation_dir: str | Path) -> None:
    """Refuses an evaluation that did not end in a blessing.

    Raises:
        InputError: It is missing, unfinished or not blessed.
    """
    records.require(evaluation_dir, "evaluate")
    folder = Path(evaluation_dir)
    if (folder / NOT_BLESSED).exists() or not (folder / BLESSED).exists():
        raise InputError(f"The model is not blessed: {_refusal(folder)}.")


def _refusal(evaluation_dir: Path) -> str:
    """Why an evaluation is not blessed, and the remedy."""
    path = evaluation_dir / records.REPORT_NAME
    verdict = storage.read_json(path).get("blessing", {}) if path.exists() else {}
    if (evaluation_dir / BLESSED).exists() or verdict.get("blessed", False):
        return f"{evaluation_dir} contradicts itself. Remove it and run `recall evaluate` again"
    return blessing.describe_refusal(verdict)


def read_parts(
    export_dir: str | Path, index_dir: str | Path, evaluation_dir: str | Path
) -> list[ReleasePart]:
    """The parts in the order of publication, checked to belong together."""
    require_blessed(evaluation_dir)
    records.require(export_dir, "export")
    records.require(index_dir, "index")
    export, index = manifests.read(export_dir), manifests.read(index_dir)
    if export["fingerprint"] != index["fingerprint"]:
        raise InputError(
            f"{index_dir} (fingerprint {index['fingerprint']}) was not built from {export_dir} "
            f"(fingerprint {export['fingerprint']}). Run `recall index` again."
        )
    _require_same_model(export_dir, evaluation_dir)
    return [
        ReleasePart(release.INDEX, Path(index_dir), index["files"], _values(index)),
        *(_tower_part(name, Path(export_dir), export) for name in release.PARTS[1:]),
    ]


def with_card(parts: list[ReleasePart], run_dir: str | Path) -> list[ReleasePart]:
    """The parts, with the model card beside the user tower, which is what people call the model."""
    card = model_card.texts_of(run_dir)
    return [
        part._replace(texts=card) if part.name == release.USER_TOWER else part for part in parts
    ]


def _require_same_model(export_dir: str | Path, evaluation_dir: str | Path) -> None:
    """The blessing must be of the model that was exported."""
    exported = records.require(export_dir, "export")["inputs"].get("model")
    evaluated = records.require(evaluation_dir, "evaluate")["inputs"].get("model")
    if exported != evaluated:
        raise InputError(
            f"{evaluation_dir} judged another model than {export_dir} holds. "
            "Run `recall evaluate` and `recall export` on the same model."
        )


def _tower_part(name: str, export_dir: Path, manifest: Mapping[str, Any]) -> ReleasePart:
    """The files of one tower, named from its own folder."""
    manifests.require_file(export_dir, manifest, f"{name}/saved_model.pb")
    prefix = f"{name}/"
    files = {
        path.removeprefix(prefix): checksum
        for path, checksum in manifest["files"].items()
        if path.startswith(prefix)
    }
    return ReleasePart(name, export_dir / name, files, _values(manifest))


def _values(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What was recorded when a folder was sealed."""
    return {key: value for key, value in manifests.describe(manifest).items() if key != "format"}
