"""What the machine offers, and what this process takes of it."""

import subprocess
import sys

import pytest

from lookalike.types.machine import glibc

HEAPS = """
import ctypes, sys, threading
from lookalike.types.machine import glibc, use_few_heaps
if sys.argv[1] == "few":
    use_few_heaps()
together = threading.Barrier(7)
def allocate():
    held = bytes(100_000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
for thread in threads:
    thread.start()
together.wait()
for thread in threads:
    thread.join()
library = glibc()
library.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(library.fdopen(1, b"w"))
library.malloc_info(0, out)
library.fflush(out)
"""


@pytest.mark.skipif(glibc() is None, reason="only glibc has a heap for each thread")
def test_threads_share_two_heaps_where_told():
    found = {}
    for how in ("few", "usual"):
        command = [sys.executable, "-c", HEAPS, how]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[how] = said.count("<heap nr=")
    assert found["few"] <= 2 < found["usual"]
