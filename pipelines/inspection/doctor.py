"""All checks of `recall doctor`, in the order in which they are told. Imports no TensorFlow."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.inspection import machine, packages, trial
from pipelines.inspection.findings import BROKEN, Finding


def examine(folder: Path) -> list[Finding]:
    """Looks at everything; a check that fails is a finding itself.

    Args:
        folder: Where runs are to be written.
    """
    checks: Mapping[str, Callable[[], Finding | list[Finding]]] = {
        "versions": packages.check_versions,
        "conflicts": packages.check_conflicts,
        "tensorflow": trial.try_tensorflow,
        "settings": packages.check_settings,
        "processor": machine.check_processor,
        "cores": machine.check_cores,
        "memory": machine.check_memory,
        "disk": lambda: machine.check_disk(folder),
        "open files": machine.check_open_files,
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            found = check()
        except Exception as error:  # The others are still worth knowing.
            text = f"cannot be looked at: {error!r}"
            found = Finding(name, BROKEN, text, "Report this line to the makers of recall.")
        findings += found if isinstance(found, list) else [found]
    return findings
