"""`python -m pipelines.query`: the command `recall query`. The client is in clients/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["query", *sys.argv[1:]], catch_signals=True))
