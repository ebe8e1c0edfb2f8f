"""Flags that go to Apache Beam. Imports no TensorFlow."""

from collections.abc import Sequence

from pipelines.commands.shared.flags import UsageError
from recall.errors import InputError


def check(beam_args: Sequence[str]) -> None:
    """Fails early, also where the job that takes the flags is up to date.

    Raises:
        UsageError: Neither this command nor Beam knows a flag.
    """
    if not beam_args:
        return
    from pipelines.ingestion import beam

    try:
        beam.build_options(beam_args)
    except InputError as error:
        raise UsageError(str(error).removesuffix(" See --help.")) from error
