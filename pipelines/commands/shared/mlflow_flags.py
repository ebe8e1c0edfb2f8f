"""The flag of MLflow, and the variable that stands for it. Imports no TensorFlow."""

import os

from absl import flags

from pipelines.commands.shared.flags import FlagSpec

VARIABLE = "RECALL_MLFLOW"

FLAGS = {
    "mlflow": FlagSpec(
        help="Address of MLflow to log the run to: http://host:5000, sqlite:///mlflow.db. Without "
        f"it the environment's {VARIABLE}. MLFLOW_EXPERIMENT_NAME names the experiment, MLflow's "
        "other variables hold too.",
        value="URI",
    )
}


def read_uri(values: flags.FlagValues) -> str | None:
    """The address of --mlflow, else of the environment, None for neither."""
    return values.mlflow or os.environ.get(VARIABLE) or None
