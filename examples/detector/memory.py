"""The host's memory, in large pages where Linux leaves that to the program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")
LARGE_PAGES = "glibc.malloc.hugetlb"


def use_large_pages() -> None:
    """Start the program anew with glibc told to ask for pages of 2 MB; to be called before anything else.

    On a CPU XLA allocates the memory of each step and frees it again, and the system hands it out page by page, some
    19,000 pages of 4 KB for n at 128 pixels, batch 16 (benchmarks/train_step.py counts them). glibc reads its settings
    (GLIBC_TUNABLES) only at the start of a process. Nothing happens where that setting is made already,
    `glibc.malloc.hugetlb=0` included, or where Linux gives every program large pages or none.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if LARGE_PAGES in tunables or not POLICY.exists() or "[madvise]" not in POLICY.read_text():
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{LARGE_PAGES}=1")))
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
