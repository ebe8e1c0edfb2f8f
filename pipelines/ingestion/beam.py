"""Apache Beam as the jobs use it: options, runners, linear chains.

Imports no TensorFlow. Import `beam` from here: Beam warns on import when its
Google Cloud extras are absent, which no user of a local run needs to read.
"""

import contextlib
import importlib.util
import io
import logging
from collections.abc import Sequence

from recall.errors import InputError

_disabled, _handlers = logging.root.manager.disable, list(logging.root.handlers)
logging.disable(logging.WARNING)
try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.runners.runner import create_runner
finally:
    logging.disable(_disabled)
    # Its warning, though silenced, gives the root logger a handler.
    logging.root.handlers[:] = _handlers

__all__ = ["PipelineOptions", "beam", "build_options", "build_runner", "run_chain"]

_LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")
_DASK_RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"
"""Beam knows it by its full name alone."""


def build_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Parses the flags meant for Beam.

    A remote runner may have flags that only its job server knows; with a local
    runner an unknown flag is a typing error.

    Raises:
        InputError: A value cannot be parsed, or a local run has unknown flags.
    """
    options = PipelineOptions(list(beam_args))
    errors = io.StringIO()
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)  # Beam logs what is raised here
    try:
        with contextlib.redirect_stderr(errors):
            known = options.get_all_options()
            given = options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:
        reason = errors.getvalue().strip().rpartition("error: ")[2]
        raise InputError(f"Beam does not accept its flags: {reason}.") from error
    finally:
        logging.disable(previous)
    unknown = sorted(set(given) - set(known))
    if unknown and options.view_as(StandardOptions).runner in _LOCAL_RUNNERS:
        raise InputError(
            f"Unknown flag --{unknown[0]}: neither this command nor Apache Beam has it. See --help."
        )
    return options


def build_runner(options: PipelineOptions) -> beam.runners.PipelineRunner:
    """The runner named by `--runner`; by default this process.

    Beam's own default would first try to download another runner's program.

    Raises:
        InputError: There is no such runner.
    """
    name = options.view_as(StandardOptions).runner
    if name in _LOCAL_RUNNERS:
        return FnApiRunner()
    if name in ("DaskRunner", _DASK_RUNNER):
        if importlib.util.find_spec("distributed") is None:
            raise InputError("--runner=DaskRunner needs Dask: pip install 'recall[train,dask]'.")
        name = _DASK_RUNNER
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"Beam has no runner {name!r}: {reason} Check --runner.") from error


def run_chain(options: PipelineOptions, inputs: Sequence, *transforms: beam.PTransform) -> None:
    """Runs one pipeline: `inputs`, then the transforms one after the other.

    One linear chain without tagged outputs is all this offers, because that is
    what every runner gets right: Beam's Dask runner silently drops the other
    branches of a pipeline that forks, and what `finish_bundle` gives out.

    Args:
        options: From `build_options`.
        inputs: Elements of the first collection.
        *transforms: Steps; the results are what the last one writes.
    """
    with beam.Pipeline(runner=build_runner(options), options=options) as pipeline:
        collection = pipeline | "Inputs" >> beam.Create(list(inputs), reshuffle=False)
        for step, transform in enumerate(transforms):
            collection = collection | f"{step}-{transform.label}" >> transform
    client = getattr(pipeline.result, "client", None)
    if client is not None:  # Dask's; Beam leaves it open, and a local cluster with it.
        client.close()
