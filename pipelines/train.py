"""`python -m pipelines.train`: the command `recall train`. The job is in training/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("train"))
