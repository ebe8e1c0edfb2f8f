"""Releases of the tests' catalogues in an S3 server."""

import contextlib
from pathlib import Path

from serving.release import manifest as manifests
from serving.release import release, store_publish
from serving.release.store_publish import PartFiles


def publish(serving_dir: Path, version: int, serving_url: str, *, as_version: int) -> None:
    """Publishes a version of a folder in a store, under a number of the test's choice."""
    parts = []
    for part in release.PARTS:
        folder = serving_dir / part / str(version)
        manifest = manifests.read(folder)
        named = {name: (folder / name, checksum) for name, checksum in manifest["files"].items()}
        parts.append(PartFiles(part, named, {}, manifest, "Make it again."))
    with contextlib.ExitStack() as stack:
        claim = stack.enter_context(
            store_publish.claimed_version(serving_url, lambda: float(as_version))
        )
        assert claim.version == as_version
        store_publish.publish(claim, parts)
