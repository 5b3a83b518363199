"""One way to compile a numeric function, typed.

This module decides where compiled code is kept, so it must be the first in the process that imports numba: every module
with a compiled function imports `compiled` from here and nothing from numba.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

P = ParamSpec("P")
R = TypeVar("R")

Grey = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def cache_folder() -> Path:
    """Where compiled code is kept when NUMBA_CACHE_DIR does not say: the user's cache, else the temporary folder."""
    base = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache")
    folder = Path(base) / "twintally" / "numba"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A container without a home: the compiled code then lives as long as the container.
        return Path(tempfile.gettempdir()) / "twintally-numba"
    return folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir()) / "twintally-numba"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

import numba  # noqa: E402 - after the folder is decided

# One picture is one task: parallelism comes from threads over pictures, which never wait for each other's loops.
cv2.setNumThreads(1)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba at the first call and keep the machine code; the function runs without the interpreter's lock.

    Numba does not notice a change in a compiled function of *another* file: after such an edit empty NUMBA_CACHE_DIR.
    """
    return cast(Callable[P, R], cast(Any, numba).njit(cache=True, nogil=True, fastmath=True)(function))


def compiled_exactly(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, but sums and quotients stay in the order and rounding in which they are written."""
    return cast(Callable[P, R], cast(Any, numba).njit(cache=True, nogil=True)(function))


@compiled
def hamming(a: Bits, b: Bits) -> int:
    """Number of differing bits of two descriptors of four 64-bit words each."""
    total = np.uint64(0)
    for word in range(4):
        x = a[word] ^ b[word]
        x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
        x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        total += (x * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return np.int64(total)  # type: ignore[return-value]  # an int once compiled
