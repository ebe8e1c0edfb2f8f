"""`fit`: a log, as a table or a path, becomes a run by the jobs of `recall run`."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.api import log_jobs, paths
from pipelines.api.runs import Run

if TYPE_CHECKING:
    from pipelines.api.settings import ConfigLike


def fit(
    events: Any,
    items: Any = None,
    *,
    config: "ConfigLike" = None,
    output: str | os.PathLike | None = None,
    warm_start: Run | str | os.PathLike | None = None,
    show: bool = True,
    **reading: Any,
) -> Run:
    """Trains, judges, indexes and publishes a model: the jobs of `recall run`, in their process.

    The same call again finds everything up to date; another setting does again what depends on
    it. A job that was interrupted goes on where it was.

    Args:
        events: The log: a pandas, polars or pyarrow table with the columns `user_id`, `item_id`
            and `timestamp` (a time, or a number whose unit is told by its size); or a path or
            another log that `recall run --events` takes, as `synthetic:users=2000,items=500`.
        items: Optional table or path about the items: `item_id`, `category` (a text, several
            separated by |), `title`.
        config: Settings: a `recall.RecallConfig`; a dict, `{"train": {"max_epochs": 5}}` or
            `{"train.max_epochs": 5}`; a list, `["train.max_epochs=5"]`; the path of a JSON file.
        output: Folder of the run; None makes a new one in the folder for temporary files.
        warm_start: An earlier run, or its folder: the training goes on from its model, with the
            rows of all items that it knows. Settings of the section `model` have to be its own.
        show: Whether progress is shown on stderr.
        **reading: Other flags of `recall run`: `users`, a table or path about the users where
            features of them are declared; and as `user_column="visitor"`,
            `timestamp_column="none"`, `where="event=purchase"`, `overwrite=True`,
            `events_name="Shop, 2024"` for the report; None is as if it were left out.

    Returns:
        The finished run.

    Raises:
        InputError: The log, a setting or the folder is not usable, or the model is not good
            enough to publish; one line says what to do. In the last case `recall.load(output)`
            has the metrics.
    """
    if output is None:
        folder = Path(tempfile.mkdtemp(prefix="recall-run-"))
    else:
        folder = paths.read("output", output)
    if warm_start is not None:
        earlier = warm_start.path if isinstance(warm_start, Run) else warm_start
        reading = {**reading, "warm_start": str(paths.read("warm_start", earlier))}
    log_jobs.run_all(events, items, folder, config, reading, show=show)
    return Run(folder)
