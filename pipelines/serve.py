"""`python -m pipelines.serve`: the command `recall serve`. The server is in serving/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["serve", *sys.argv[1:]], catch_signals=True))
