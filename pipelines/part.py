"""`python -m pipelines.part PID WORDS`: `recall WORDS` as a part of what the process PID does."""

from pipelines import cli
from pipelines.processes import jobs

if __name__ == "__main__":
    jobs.run_part(cli.main)
