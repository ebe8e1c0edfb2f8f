"""The commands of `recall`, in the order of its help. Imports no TensorFlow.

A command is imported when it is asked for: `recall query` is as fast as its own imports.
"""

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType

from pipelines.commands import completion

_NAMES = (
    "run",
    "ingest",
    "forget",
    "features",
    "validate",
    "train",
    "evaluate",
    "export",
    "index",
    "push",
    "recommend",
    "similar",
    "embed",
    "report",
    "runs",
    "compare",
    "tune",
    "experiment",
    "tfx",
    "serve",
    "query",
    "items",
    "synthesize",
    "tensorboard",
    "doctor",
    "completion",
    "demo",
)


class _Commands(Mapping[str, ModuleType]):
    """Name -> module; looking at names imports nothing."""

    def __getitem__(self, name: str) -> ModuleType:
        if name not in _NAMES:
            raise KeyError(name)
        return importlib.import_module(f"pipelines.commands.{name}")

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


COMMANDS: Mapping[str, ModuleType] = _Commands()
"""Name -> module with `COMMAND`, its flags, and `call(values, beam_args)`."""

completion.know(lambda: {name: module.COMMAND for name, module in COMMANDS.items()})
