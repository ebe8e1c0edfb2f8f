"""`python -m pipelines.push`: the command `recall push`. The job is in publishing/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("push"))
