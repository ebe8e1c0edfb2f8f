"""The command `recall push`. Imports no TensorFlow until it is called."""

import os
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders, progress_flags, publish_flags
from pipelines.commands.shared.flags import Command

COMMAND = Command(
    summary="Publishes a blessed run as a new version, all at once.",
    description="Copies towers and index of a run to "
    "serving/{user_tower,item_tower,index}/<version>, then removes old versions. Refused are "
    "a model that is not blessed, and a release that lacks much of what the newest one has.",
    examples=("push --run=runs/mine", "push --run=runs/mine --serving=/srv/recall --keep=10"),
    flags={
        "run": folders.flag(
            "Folder of the run, with evaluation/, export/ and index/.", store="read"
        ),
        "serving": folders.flag(
            "Folder of the releases, here or in an object store; default: serving/ inside the run.",
            store="url",
        ),
        "index": folders.flag(
            "Another index of the same export, for example a shard; default: index/ inside the "
            "run.",
            store="read",
        ),
        **publish_flags.FLAGS,
        **progress_flags.FLAGS,
    },
    required=("run",),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Publishes the run."""
    keep = publish_flags.read_keep(values)
    run_dir = folders.require("run", values["run"].value)
    serving_dir = values.serving or os.path.join(run_dir, "serving")
    from pipelines.publishing import push

    version = push.run_push(
        run_dir, serving_dir, values["index"].value, keep=keep, allow_loss=values.allow_loss
    )
    print(f"Published version {version} in {serving_dir}")
