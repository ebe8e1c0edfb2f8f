"""Flags whose values are in object stores: what becomes of them before and after a command.

Imports no TensorFlow, and nothing of stores where no flag names one.
"""

import contextlib
from collections.abc import Iterator

from absl import flags

from pipelines.commands.shared.flags import Command
from serving.stores import urls


@contextlib.contextmanager
def borrowed(values: flags.FlagValues, command: Command) -> Iterator[None]:
    """Puts copies of this machine in the place of URLs, for the time of the block.

    What a flag says of stores is its `FlagSpec.store`. A release is published in a store as such:
    where a run is in one, `--serving` is `serving/` there unless it names another place.

    Raises:
        InputError: A store cannot be read or written to.
    """
    wanted = {
        name: spec.store
        for name, spec in command.flags.items()
        if spec.store not in ("", "url") and urls.is_url(values[name].value)
    }
    if not wanted:
        yield
        return
    from pipelines.mirrors.borrowed import Borrowed

    run = next((values[name].value for name in ("output", "run") if name in wanted), None)
    if run is not None and "serving" in command.flags and not values["serving"].value:
        values["serving"].value = urls.join(run, "serving")
    with Borrowed() as places, places.shown():
        for name, store in wanted.items():
            values[name].value = getattr(places, store)(values[name].value)
        yield
