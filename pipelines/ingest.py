"""`python -m pipelines.ingest`: the command `recall ingest`. The job is in ingestion/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("ingest"))
