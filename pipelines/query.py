"""`python -m pipelines.query`: the command `recall query`. The client is in clients/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("query"))
