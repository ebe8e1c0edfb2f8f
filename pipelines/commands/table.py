"""The commands of `recall`, in the order of its help. Imports no TensorFlow."""

from types import ModuleType

from pipelines.commands import (
    completion,
    demo,
    doctor,
    evaluate,
    export,
    index,
    ingest,
    items,
    push,
    query,
    report,
    run,
    serve,
    synthesize,
    tensorboard,
    train,
)

COMMANDS: dict[str, ModuleType] = {
    "run": run,
    "ingest": ingest,
    "train": train,
    "evaluate": evaluate,
    "export": export,
    "index": index,
    "push": push,
    "report": report,
    "serve": serve,
    "query": query,
    "items": items,
    "synthesize": synthesize,
    "tensorboard": tensorboard,
    "doctor": doctor,
    "completion": completion,
    "demo": demo,
}
"""Name -> module with `COMMAND`, its flags, and `call(values, beam_args)`.

What `call` returns is the exit code; None is 0.
"""

completion.know({name: module.COMMAND for name, module in COMMANDS.items()})
