"""`python -m pipelines.index`: the command `recall index`. The job is in publishing/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["index", *sys.argv[1:]], catch_signals=True))
