"""Where the steps of a job run: in this process, or on the workers of Apache Beam.

Imports no TensorFlow, and Beam only where flags ask for one of its runners: for a
small log the import would be most of the time and memory.
"""

from collections.abc import Callable, Sequence


class StepRunner:
    """Calls a step for each of some numbers; a step leaves its results in files."""

    def __init__(self, beam_args: Sequence[str] = ()):
        """Prepares the runner.

        Args:
            beam_args: Flags for Beam's `PipelineOptions`, `--runner` among them; none
                keep the work in this process.

        Raises:
            InputError: Beam does not know a flag, or not its value.
        """
        self._options = None
        if beam_args:
            from pipelines.ingestion import beam

            self._options = beam.build_options(beam_args)
            beam.build_runner(self._options)

    def run(self, step: Callable[[int], None], numbers: Sequence[int]) -> None:
        """Returns when the step has been done for all numbers."""
        if self._options is None:
            for number in numbers:
                step(number)
            return
        from pipelines.ingestion import beam

        call = beam.beam.Map(step)
        beam.run_chain(self._options, numbers, beam.beam.Reshuffle(), call)
