"""TensorBoard over a training: curves, settings and item vectors, at an address of this machine.

`recall tensorboard` calls it. The curves are written by the training itself and grow while it
runs; the item vectors are written here, once it is finished.
"""

import shlex
import threading
import warnings
from pathlib import Path

from absl import logging

from pipelines.artifacts import records, trained_model
from pipelines.artifacts.records import RunPaths
from pipelines.inspection import projector
from pipelines.training.epochs.curves import LOGS_NAME
from recall.errors import InputError

_HOST = "127.0.0.1"
"""TensorBoard asks for no password: nobody else may come in."""


def find_model(run_dir: str | Path) -> Path:
    """The folder of the training: that of a run, or the one `recall train` wrote.

    Raises:
        InputError: There is none in which a training has begun.
    """
    for folder in (RunPaths.under(run_dir).model, Path(run_dir)):
        if (folder / LOGS_NAME).is_dir() and (folder / records.STARTED_NAME).exists():
            return folder
    raise InputError(
        f"{run_dir} holds no training: neither model/ of a run nor what `recall train` writes. "
        "Name such a folder in --run."
    )


def prepare(model_dir: Path, max_items: int) -> None:
    """Writes the item vectors of a finished training; says what is shown.

    Raises:
        InputError: The model is damaged, or the folder cannot be written to.
    """
    if max_items == 0:
        return
    if records.read_record(model_dir) is None:
        logging.warning("The training is not finished: its curves are shown, item vectors later.")
        return
    trained = trained_model.load_model(model_dir)
    shown = projector.write_projector(trained, model_dir / LOGS_NAME, max_items)
    of_all = trained.vocabulary.num_items
    which = "all" if shown == of_all else f"the most clicked of {of_all:,}; --max_items shows more"
    logging.info("The projector has %s items (%s).", f"{shown:,}", which)


def start(model_dir: Path, port: int) -> str:
    """Starts TensorBoard in threads of this process.

    Args:
        model_dir: What `find_model` found.
        port: Where to listen; 0 takes a free one.

    Returns:
        The address.

    Raises:
        InputError: The port is taken.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # It imports pkg_resources, which is old.
        from tensorboard import program
        from tensorboard.data import server_ingester  # noqa: F401  it is that one
    board = program.TensorBoard()
    # Its own reader of events in place of the quicker one, a program that it would start.
    board.configure(logdir=str(model_dir / LOGS_NAME), host=_HOST, port=port, load_fast="false")
    try:
        return board.launch()
    except program.TensorBoardServerException as error:
        raise InputError(
            f"Cannot listen on {_HOST}:{port}: the port is taken, or not allowed. Name another in "
            "--port; 0 picks a free one."
        ) from error


def serve_board(run_dir: str | Path, port: int, max_items: int) -> None:
    """Serves TensorBoard until Ctrl-C.

    Raises:
        InputError: See `find_model`, `prepare` and `start`.
    """
    model_dir = find_model(run_dir)
    prepare(model_dir, max_items)
    address = start(model_dir, port)
    shown = shlex.quote(str(model_dir))
    print(f"TensorBoard shows {shown} at {address} (Ctrl-C ends it).", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        logging.info("Stopped.")
