"""A process that changes live items until it is killed; `python -m tests.reliability.item_writer`.

Prints a line for every acknowledged change: `+ID` or `-ID`. Without a model: what
is tested is the store and the catalogue, and a hundred TensorFlows take long to start.
"""

import sys
import threading
from pathlib import Path

import numpy as np

from serving.api.item_changes import ItemUpsert
from serving.index.bundle import open_bundle
from serving.live.catalogue import LiveCatalogue
from serving.live.items import LiveItems

NUM_THREADS = 4


def open_items(serving_dir: Path, version: int) -> tuple[LiveItems, LiveCatalogue]:
    """The live items of a folder and the catalogue of one version."""
    catalogue = LiveCatalogue(open_bundle(serving_dir / "index" / str(version)), version=version)
    items = LiveItems(serving_dir)
    items.attach(catalogue)
    return items, catalogue


def _write(items: LiveItems, dim: int, name: str) -> None:
    """Upserts items one by one and deletes every third of them."""
    generator = np.random.default_rng()
    step = 0
    while True:
        step += 1
        item_id = f"{name}-{step}"
        items.upsert([ItemUpsert(item_id, vector=generator.standard_normal(dim))])
        # One write, so that lines of threads do not mix.
        sys.stdout.write(f"+{item_id}\n")
        sys.stdout.flush()
        if step % 3 == 0:
            items.delete([item_id])
            sys.stdout.write(f"-{item_id}\n")
            sys.stdout.flush()


def main(serving_dir: str, version: str, name: str) -> None:
    """Writes until somebody ends the process."""
    items, catalogue = open_items(Path(serving_dir), int(version))
    threads = [
        threading.Thread(target=_write, args=(items, catalogue.dim, f"{name}-{number}"))
        for number in range(NUM_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
