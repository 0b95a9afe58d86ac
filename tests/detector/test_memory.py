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

PROGRAM = """
import os, pathlib, sys
from examples.detector import memory
print("started", os.getpid(), flush=True)
memory.POLICY = pathlib.Path(sys.argv[1])
memory.use_large_pages()

import ctypes, json, resource
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


def run(tmp_path: Path, policy: Path, tunables: str | None) -> tuple[list[str], str | None, list[str], int]:
    """The processes that began, and the last one's GLIBC_TUNABLES, arguments and page faults."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if tunables is None else {"GLIBC_TUNABLES": tunables})
    call = [sys.executable, "-W", "ignore", str(tmp_path / "program.py"), str(policy), "a folder"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True)
    *started, last = done.stdout.splitlines()
    return started, *json.loads(last)


@pytest.mark.parametrize("tunables", [None, "glibc.malloc.tcache_count=7"])
def test_a_program_starts_anew_as_it_was_called(tmp_path: Path, tunables: str | None) -> None:
    policy = tmp_path / "enabled"
    policy.write_text("always [madvise] never\n")
    started, now, argv, _ = run(tmp_path, policy, tunables)
    assert len(started) == 2
    assert len(set(started)) == 1  # one process
    assert now == ":".join(filter(None, (tunables, "glibc.malloc.hugetlb=1")))
    assert argv == [str(tmp_path / "program.py"), str(policy), "a folder"]


@pytest.mark.parametrize(
    ("policy", "tunables"),
    [
        ("[always] madvise never\n", None),
        ("always madvise [never]\n", None),
        (None, None),
        ("always [madvise] never\n", "glibc.malloc.hugetlb=0"),
    ],
    ids=["all have them", "none has them", "no such system", "the user's own setting"],
)
def test_a_program_goes_on_where_there_is_nothing_to_ask_for(
    tmp_path: Path, policy: str | None, tunables: str | None
) -> None:
    if policy is not None:
        (tmp_path / "enabled").write_text(policy)
    started, now, _, _ = run(tmp_path, tmp_path / "enabled", tunables)
    assert len(started) == 1
    assert now == tunables


@pytest.mark.skipif(
    not POLICY.exists() or "[madvise]" not in POLICY.read_text(), reason="this system leaves no large pages to ask for"
)
def test_the_pages_are_large(tmp_path: Path) -> None:
    _, _, _, large = run(tmp_path, POLICY, None)
    _, _, _, small = run(tmp_path, POLICY, "glibc.malloc.hugetlb=0")
    assert small >= 10 * (64 << 20) / os.sysconf("SC_PAGE_SIZE")
    assert large < small / 4  # a quarter, for a host whose memory is too scattered to give them all


@pytest.mark.parametrize("program", ["-m examples.detector.train", "benchmarks/train_step.py"])
def test_the_training_asks_for_them(tmp_path: Path, program: str) -> None:
    starts, policy = tmp_path / "starts.txt", tmp_path / "enabled"
    policy.write_text("always [madvise] never\n")
    (tmp_path / "sitecustomize.py").write_text(f"""# runs at each start of Python
import os, pathlib, sys
open({str(starts)!r}, "a").write(os.environ.get("GLIBC_TUNABLES", "none") + "\\n")
sys.path.insert(0, {str(ROOT)!r})
from examples.detector import memory
memory.POLICY = pathlib.Path({str(policy)!r})
""")
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    call = [sys.executable, *program.split(), "--help"]
    subprocess.run(call, cwd=ROOT, env=environment | {"PYTHONPATH": str(tmp_path)}, capture_output=True, check=True)
    assert starts.read_text().split() == ["none", "glibc.malloc.hugetlb=1"]
