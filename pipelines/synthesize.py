"""`python -m pipelines.synthesize`: the command `recall synthesize`. The job is in synthetic/."""

import sys

from pipelines import cli

if __name__ == "__main__":
    sys.exit(cli.main(["synthesize", *sys.argv[1:]], catch_signals=True))
