"""`python -m pipelines.evaluate`: the command `recall evaluate`. The job is in evaluation/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["evaluate", *sys.argv[1:]], catch_signals=True))
