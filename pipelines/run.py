"""`python -m pipelines.run`: the command `recall run`. The jobs in order are in publishing/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("run"))
