"""`python -m pipelines.train`: the command `recall train`. The job is in training/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["train", *sys.argv[1:]], catch_signals=True))
