"""What is at the ends of examples: first and last times, and who has most to be learnt.

Most changes leave them or go further. Where one takes away all that was at an end, the next
is somewhere among all users, who are then split again. Imports no TensorFlow and no Beam.
"""

import numpy as np

from pipelines.ingestion import kept_sequences, splitting
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.kept_sequences import Generation
from pipelines.progress import tasks
from pipelines.upkeep.split_users import FREQUENT, NOW
from pipelines.upkeep.steps import Place
from recall.config import RecallConfig

ENDS = "ends"
"""Name of the facts that the step leaves."""
FINDING = "look for first and last events"


class FindEnds:
    """Splits the users of a shard who count, of all generations."""

    def __init__(self, config: RecallConfig, place: Place):
        self._config, self._place = config, place

    def __call__(self, shard: int) -> None:
        """Writes the facts of the split of each generation."""
        files = ShardFiles(self._place.work_dir)
        stored = kept_sequences.open_files(self._place.examples_dir)
        item_ids = stored.read_batch(kept_sequences.CATALOGUE, 0)["item_id"]
        frequent = files.read_array(FREQUENT[NOW], 0)
        splitter = splitting.Splitter(self._config.ingest, None, frequent, item_ids)
        found = []
        for generation in range(self._place.generation + 1):
            number = kept_sequences.file_number(generation, shard)
            users = Generation.read(stored, number)
            if users.alive.any():
                log = users.take(stored, np.flatnonzero(users.alive))
                found.append(splitter.split(log)[1])
        files.write_facts(ENDS, shard, found)
        tasks.count(FINDING, 1)
