"""`python -m pipelines.push`: the command `recall push`. The job is in publishing/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["push", *sys.argv[1:]], catch_signals=True))
