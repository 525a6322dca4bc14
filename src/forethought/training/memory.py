"""Large tensors on CPU without paying for their pages at every operation."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_MOST = 2**31 - 1
_GLIBC_MOST = 32 * 2**20


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, glibc keeps the memory of freed tensors for the next ones instead of returning it to the kernel.

    A training step frees and allocates the same gigabyte again and again; by default every tensor above 32 MiB, and
    often the top of the heap, goes back to the kernel and comes again page by page, zeroed: a fifth of the time of a
    step on CPU. Afterwards everything free is returned. Nothing happens where the C library is another.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_TRIM_THRESHOLD, _MOST)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _GLIBC_MOST)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _GLIBC_MOST)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
