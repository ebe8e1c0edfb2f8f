"""The commands of `recall`, in the order of its help. Imports no TensorFlow."""

from types import ModuleType

from pipelines.commands import (
    completion,
    demo,
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
    "completion": completion,
    "demo": demo,
}
"""Name -> module with `COMMAND`, its flags, and `call(values, beam_args)`."""

completion.know({name: module.COMMAND for name, module in COMMANDS.items()})
