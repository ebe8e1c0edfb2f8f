"""`python -m pipelines.evaluate`: the command `recall evaluate`. The job is in evaluation/."""

import sys

from pipelines import entry

if __name__ == "__main__":
    sys.exit(entry.start("evaluate"))
