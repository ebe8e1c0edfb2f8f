"""`python -m pipelines.export`: the command `recall export`. The job is in publishing/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("export"))
