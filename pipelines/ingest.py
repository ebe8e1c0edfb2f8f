"""`python -m pipelines.ingest`: the command `recall ingest`. The job is in ingestion/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["ingest", *sys.argv[1:]], catch_signals=True))
