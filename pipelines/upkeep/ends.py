"""What is at the ends of examples: first and last times, and who has most to be learnt.

Most changes leave them or go further. Where one takes away all that was at an end, the next
is somewhere among all users, who are then split again. Imports no TensorFlow and no Beam.
"""

from collections.abc import Mapping

import numpy as np

from pipelines.ingestion import kept_sequences
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events.kinds import RunKinds
from pipelines.ingestion.kept_sequences import Generation
from pipelines.progress import tasks
from pipelines.upkeep import split_users
from pipelines.upkeep.split_users import NOW
from pipelines.upkeep.steps import Place
from recall.config import RecallConfig

ENDS = "ends"
"""Name of the facts that the step leaves."""
FINDING = "look for first and last events"


class FindEnds:
    """Splits the users of a shard who count, of all generations."""

    def __init__(self, config: RecallConfig, place: Place, kinds: Mapping[str, int]):
        self._config, self._place, self._kinds = config, place, RunKinds(tuple(kinds), {})

    def __call__(self, shard: int) -> None:
        """Writes the facts of the split of each generation."""
        files = ShardFiles(self._place.work_dir)
        stored = kept_sequences.open_files(self._place.examples_dir)
        item_ids = kept_sequences.read_catalogue(stored)
        splitter = split_users.open_splitter(files, NOW, self._config, item_ids)
        found = []
        for generation in range(self._place.generation + 1):
            number = kept_sequences.file_number(generation, shard)
            users = Generation.read(stored, number)
            if users.alive.any():
                log = users.take(stored, np.flatnonzero(users.alive))
                is_impression = self._kinds.find_impressions(log.kinds)
                log = log if is_impression is None else log.filter(~is_impression)
                found.append(splitter.split(log)[1])
        files.write_facts(ENDS, shard, found)
        tasks.count(FINDING, 1)
