"""The example's program starts anew with large pages, once, as it was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.detector.memory import POLICY

ROOT = Path(__file__).parents[2]
LEFT_TO_PROGRAMS = POLICY.exists() and "[madvise]" in POLICY.read_text()

PROGRAM = """
import os
from examples.detector.memory import use_large_pages
print("started", os.getpid(), flush=True)
use_large_pages()

import ctypes, json, resource, sys
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(10):
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), sys.argv, faults() - before]))
"""


def run(tmp_path: Path, tunables: str | None) -> tuple[list[str], str | None, list[str], int]:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if tunables is None else {"GLIBC_TUNABLES": tunables})
    call = [sys.executable, "-W", "ignore", str(tmp_path / "program.py"), "--data", "a folder"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    *started, last = done.stdout.splitlines()
    return started, *json.loads(last)


@pytest.mark.skipif(not LEFT_TO_PROGRAMS, reason="Linux with transparent huge pages on madvise")
@pytest.mark.parametrize("tunables", [None, "glibc.malloc.tcache_count=7"])
def test_a_program_starts_anew_with_large_pages(tmp_path: Path, tunables: str | None) -> None:
    started, now, argv, faults = run(tmp_path, tunables)
    assert len(started) == 2
    assert len(set(started)) == 1  # one process
    assert now == ":".join(filter(None, (tunables, "glibc.malloc.hugetlb=1")))
    assert argv == [str(tmp_path / "program.py"), "--data", "a folder"]
    assert faults < 10 * (64 << 20) / 4096 / 4  # a page of 4 KB each would be 163,840


def test_a_setting_of_the_user_stands(tmp_path: Path) -> None:
    started, now, _, _ = run(tmp_path, "glibc.malloc.hugetlb=0")
    assert len(started) == 1
    assert now == "glibc.malloc.hugetlb=0"
