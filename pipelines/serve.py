"""`python -m pipelines.serve`: the command `recall serve`. The server is in serving/."""

from pipelines import cli

if __name__ == "__main__":
    cli.main_of("serve")
