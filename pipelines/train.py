"""`python -m pipelines.train`: the command `recall train`. The job is in trainer.py."""

from pipelines import cli

if __name__ == "__main__":
    cli.main_of("train")
