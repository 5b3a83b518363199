"""A saved index: one file that is mapped, not read, and is only ever a cache.

The file says what made it (the code of recognition and fingerprints, so that a change of either throws it away) and
carries a checksum of every array. It is written beside the old one, flushed to the disk and renamed: whoever shares the
folder finds a whole file, the last writer's.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.matching.recognition.buckets import SEGMENTS
from services.matching.recognition.plans import plan_of
from services.matching.recognition.prints import Prints
from services.matching.recognition.sharing import Side
from services.matching.recognition.shelf import Batch, Mark, Name, Segment, Shelf
from services.matching.recognition.tables import Tables
from shared import fingerprints
from shared.fingerprints.compiled import Flags
from shared.logs import get_log

log = get_log()

Array = npt.NDArray[Any]
Shared = Mapping[str, Mapping[str, Side]]

_HEAD = struct.Struct("<8sQI")
_MAGIC = b"tf1index"
_ALIGNED = 64

PART = ".part"
# Far longer than any write takes.
STALE_S = 3600.0
READABLE = 0o644


class UnfitFileError(Exception):
    """Why a saved index cannot be used."""


@dataclass(frozen=True, eq=False)
class Saved:
    """What one mode holds."""

    shelf: Shelf
    shared: Shared


@cache
def made_by() -> str:
    """A digest of the code that decides what an index holds."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(fingerprints.__file__).parent):
        for path in sorted(path for path in folder.iterdir() if path.suffix in {".py", ".json", ".npy"}):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def write(path: Path, modes: Mapping[bool, Saved], notes: Any) -> None:
    """Write the modes and any notes (to be JSON); a file of that name is replaced at the end, or not at all."""
    arrays: dict[str, Array] = {}
    told = {"made_by": made_by(), "notes": notes, "modes": {}}
    for livemode, saved in modes.items():
        told["modes"][str(livemode)] = _take_mode(f"{livemode}", saved, arrays)
    place, table = 0, []
    for name, array in arrays.items():
        data = np.ascontiguousarray(array)
        arrays[name] = data
        table.append([name, np.lib.format.dtype_to_descr(data.dtype), data.shape, place, _checksum(data)])
        place += -(-data.nbytes // _ALIGNED) * _ALIGNED
    header = json.dumps({**told, "arrays": table}).encode()
    _remove_stale(path)
    # No pid in the name: in containers that share a folder, all are the same.
    number, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=PART, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(number, "wb") as stream:
            # As open() would make it: another process of the folder may run as somebody else.
            os.fchmod(number, READABLE)
            stream.write(_HEAD.pack(_MAGIC, len(header), zlib.crc32(header)) + header)
            stream.write(bytes(-stream.tell() % _ALIGNED))
            for array in arrays.values():
                stream.write(_bytes_of(array))
                stream.write(bytes(-array.nbytes % _ALIGNED))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_stale(path: Path) -> None:
    """Remove what writers left that were killed half way; a young one may be another writer's, at work."""
    oldest = time.time() - STALE_S
    for part in path.parent.glob(f"{glob.escape(path.name)}.*{PART}"):
        # Another writer may be as quick, and the next one tries again what cannot be removed.
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < oldest:
                part.unlink()


def read(path: Path) -> tuple[dict[bool, Saved], Any]:
    """The modes and the notes of a file that this code wrote; raises UnfitFileError with the reason.

    A file that is not there, as at a first start, holds nothing: no mode, and empty notes.
    """
    try:
        with path.open("rb") as stream:
            header = _header(stream.read(_HEAD.size), stream.read)
            first = -(-stream.tell() // _ALIGNED) * _ALIGNED
        if header["made_by"] != made_by():
            raise UnfitFileError("it was made by other code")
        arrays = _mapped(path, first, header["arrays"])
        modes = {livemode: _mode(str(livemode), header["modes"][str(livemode)], arrays) for livemode in (True, False)}
    except FileNotFoundError:
        log.info("no_saved_index", path=str(path))
        return {}, {}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as problem:
        raise UnfitFileError(f"{type(problem).__name__}: {problem}"[:200]) from problem
    return modes, header["notes"]


def _header(head: bytes, read_more: Any) -> Any:
    if len(head) < _HEAD.size:
        raise UnfitFileError("it is cut short")
    magic, length, checksum = _HEAD.unpack(head)
    if magic != _MAGIC:
        raise UnfitFileError("it is no saved index")
    try:
        header = read_more(length)
    except (OverflowError, MemoryError) as problem:
        raise UnfitFileError("its header is damaged") from problem
    if len(header) != length or zlib.crc32(header) != checksum:
        raise UnfitFileError("its header is damaged")
    return json.loads(header)


def _mapped(path: Path, first: int, table: Sequence[Any]) -> dict[str, Array]:
    # Copy on write: nobody writes, but compiled code is compiled once more for arrays that cannot be written.
    whole = np.asarray(np.memmap(path, np.uint8, "c"))
    arrays: dict[str, Array] = {}
    for name, described, shape, place, checksum in table:
        dtype = np.lib.format.descr_to_dtype(
            [tuple(part) for part in described] if isinstance(described, list) else described
        )
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        data = whole[first + place : first + place + size]
        if len(data) != size or _checksum(data) != checksum:
            raise UnfitFileError(f"{name} is damaged")
        arrays[name] = data.view(dtype).reshape(shape)
    return arrays


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _checksum(array: Array) -> int:
    return zlib.crc32(_bytes_of(array))


# --- one mode ------------------------------------------------------------------------------------------------


def _take_mode(name: str, saved: Saved, arrays: dict[str, Array]) -> dict[str, Any]:
    """Put the arrays of a mode among the others; returns what is told of it in the header."""
    segments = [
        _take_segment(f"{name}.{number}", segment, arrays) for number, segment in enumerate(saved.shelf.segments)
    ]
    pairs = [(one, other) for one, others in saved.shared.items() for other in others]
    sides = [saved.shared[one][other] for one, other in pairs]
    _take_flags(f"{name}.blocks", [side.blocks for side in sides], arrays)
    _take_flags(f"{name}.met", [side.points for side in sides], arrays)
    return {"segments": segments, "pairs": pairs}


def _mode(name: str, told: Any, arrays: Mapping[str, Array]) -> Saved:
    large, middle, small = (
        _segment(f"{name}.{number}", told["segments"][number], arrays) for number in range(SEGMENTS)
    )
    shared: dict[str, dict[str, Side]] = {}
    sides = zip(_flags(f"{name}.blocks", arrays), _flags(f"{name}.met", arrays), strict=True)
    for (one, other), (blocks, points) in zip(told["pairs"], sides, strict=True):
        shared.setdefault(one, {})[other] = Side(blocks, points)
    return Saved(Shelf.placed((large, middle, small)), shared)


def _take_segment(name: str, segment: Segment, arrays: dict[str, Array]) -> dict[str, Any]:
    tables, batch = segment.tables, segment.batch
    same = {"points", "starts"} | ({"words"} if tables.plan.whole else set())
    arrays |= {f"{name}.prints.{part}": array for part, array in batch.prints.arrays().items()}
    arrays |= {
        f"{name}.tables.{part}": getattr(tables, part)
        for part in Tables._fields
        if part not in same | {"plan", "shift"}
    }
    arrays[f"{name}.present"] = segment.present
    marks = [batch.marks[place] for place in batch.marks]
    none = np.zeros(0, np.bool_)
    _take_flags(f"{name}.shared", [mark.shared for mark in marks], arrays)
    _take_flags(f"{name}.dropped", [none if mark.dropped is None else mark.dropped for mark in marks], arrays)
    return {
        "names": [(each.reference_id, each.twin_id) for each in batch.names],
        "marked": list(batch.marks),
        "plan": list(tables.plan),
        "shift": tables.shift,
    }


def _segment(name: str, told: Any, arrays: Mapping[str, Array]) -> Segment:
    prints = Prints(**{part: arrays[f"{name}.prints.{part}"] for part in Prints.__dataclass_fields__})
    plan = plan_of(told["plan"])
    kept: dict[str, Any] = {
        part: arrays[f"{name}.tables.{part}"] for part in Tables._fields if f"{name}.tables.{part}" in arrays
    }
    kept |= {"points": prints.points, "starts": prints.starts}
    tables = Tables(plan=plan, shift=told["shift"], **({"words": prints.descriptors} | kept))
    marks = zip(told["marked"], _flags(f"{name}.shared", arrays), _flags(f"{name}.dropped", arrays), strict=True)
    batch = Batch(
        tuple(Name(reference_id, twin_id) for reference_id, twin_id in told["names"]),
        prints,
        {place: Mark(shared, dropped if len(dropped) else None) for place, shared, dropped in marks},
    )
    return Segment(batch, tables, arrays[f"{name}.present"])


def _take_flags(name: str, several: Sequence[Flags], arrays: dict[str, Array]) -> None:
    """Flags of one or two dimensions, eight in a byte."""
    shapes = [flags.shape if flags.ndim == 2 else (len(flags), -1) for flags in several]
    arrays[f"{name}.shapes"] = np.array(shapes, np.int32).reshape(-1, 2)
    arrays[f"{name}.bits"] = np.packbits(np.concatenate([np.zeros(0, np.bool_), *(one.ravel() for one in several)]))


def _flags(name: str, arrays: Mapping[str, Array]) -> list[Flags]:
    shapes = arrays[f"{name}.shapes"].tolist()
    bits = np.unpackbits(arrays[f"{name}.bits"]).astype(np.bool_)
    result, first = list[Flags](), 0
    for rows, columns in shapes:
        size = rows * abs(columns)
        flags = bits[first : first + size].copy()
        result.append(flags if columns < 0 else flags.reshape(rows, columns))
        first += size
    return result
