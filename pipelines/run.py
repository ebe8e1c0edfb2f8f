"""`python -m pipelines.run`: the command `recall run`. The jobs in order are in publishing/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["run", *sys.argv[1:]], catch_signals=True))
