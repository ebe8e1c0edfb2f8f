"""`python -m pipelines.index`: the command `recall index`. The job is in publishing/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("index"))
