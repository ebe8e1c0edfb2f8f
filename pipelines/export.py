"""`python -m pipelines.export`: the command `recall export`. The job is in publishing/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["export", *sys.argv[1:]], catch_signals=True))
