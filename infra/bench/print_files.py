"""Fingerprints of more references than memory holds: written part by part, then mapped."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.matching.recognition.prints import Prints

COUNTING = ("starts", "picture_starts")  # sums of lengths, which start anew in every part


def kept_in(folder: Path, parts: Iterable[Prints]) -> Prints:
    """The fingerprints of all parts in a row, in files of the folder: they last as long as these."""
    like = Prints.of([]).arrays()
    lengths = {name: [np.zeros(1, np.int64)] for name in COUNTING}
    with ExitStack() as opened:
        files = {name: opened.enter_context((folder / name).open("wb")) for name in like if name not in COUNTING}
        for part in parts:
            arrays = part.arrays()
            for name, stream in files.items():
                stream.write(np.ascontiguousarray(arrays[name]).data)
            for name in COUNTING:
                lengths[name].append(np.diff(arrays[name]))
    whole: dict[str, Any] = {name: np.cumsum(np.concatenate(several)) for name, several in lengths.items()}
    return Prints(**whole, **{name: _mapped(folder / name, like[name]) for name in files})


def _mapped(path: Path, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The whole file as rows of the same kind; what is written goes to memory only."""
    return np.asarray(np.memmap(path, like.dtype, "c")).reshape(-1, *like.shape[1:])
