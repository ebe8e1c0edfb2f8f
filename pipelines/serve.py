"""`python -m pipelines.serve`: the command `recall serve`. The server is in serving/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("serve"))
