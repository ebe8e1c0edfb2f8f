"""Memory that is freed is used again, as the system counts it."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import numpy as np
from pipelines.commands.shared import process_memory

if {kept}:
    assert process_memory.keep_freed()
def use():
    several = [np.ones(300_000) for _ in range(3)]  # 2.4 MB each, 600 pages.
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")
def test_arrays_of_some_megabytes_get_the_pages_of_others():
    with_pages, without = (
        int(subprocess.check_output([sys.executable, "-c", COUNT.format(kept=kept)]))
        for kept in (False, True)
    )
    assert without < 1000 < 10_000 < with_pages
