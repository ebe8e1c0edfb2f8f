"""Which tests a process of `pytest -n` takes: those of a file, or of files with one run."""

from xdist.scheduler import LoadFileScheduling

TOGETHER = ("tests/pipelines/api/",)
"""Folders whose tests look at one finished run, which each process would make for itself."""


class ByFileOrRun(LoadFileScheduling):
    """As `--dist=loadfile`, but for `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        folders = (folder for folder in TOGETHER if nodeid.startswith(folder))
        return next(folders, super()._split_scope(nodeid))
