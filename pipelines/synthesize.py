"""`python -m pipelines.synthesize`: the command `recall synthesize`. The job is in synthetic/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("synthesize"))
