"""Random damage to files, the same for the same seed and number."""

from collections.abc import Callable, Sequence

import numpy as np

Chance = np.random.Generator
Damage = Callable[[Chance, bytearray, bytes], bytearray]

HEAD_BYTES = 600  # where sizes, offsets and tables stand: half of all damage is done there
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10_000, 30_000)


def mutated(files: Sequence[bytes], seed: int, number: int) -> bytes:
    """One of the files after one to four kinds of damage."""
    chance = np.random.default_rng((seed, number))
    data = bytearray(files[int(chance.integers(len(files)))])
    other = files[int(chance.integers(len(files)))]
    for _ in range(int(chance.integers(1, 5))):
        data = DAMAGES[int(chance.integers(len(DAMAGES)))](chance, data, other)
        if not data:
            break
    return bytes(data)


def _place(chance: Chance, data: bytearray) -> int:
    room = min(len(data), HEAD_BYTES) if chance.random() < 0.5 else len(data)
    return int(chance.integers(room))


def _slice(chance: Chance, data: bytearray) -> slice:
    first = _place(chance, data)
    return slice(first, first + int(2 ** chance.uniform(0, 9)))


def _bytes_changed(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    for _ in range(int(chance.integers(1, 17))):
        data[_place(chance, data)] = int(chance.integers(256))
    return data


def _bits_flipped(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    for _ in range(int(chance.integers(1, 9))):
        data[_place(chance, data)] ^= 1 << int(chance.integers(8))
    return data


def _number_set(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    """A size or an offset becomes an extreme one, in either order of bytes."""
    width = int(chance.choice([1, 2, 4]))
    value = EDGES[int(chance.integers(len(EDGES)))] & (256**width - 1)
    place = _place(chance, data)
    data[place : place + width] = value.to_bytes(width, "big" if chance.random() < 0.5 else "little")
    return data


def _cut_off(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    return data[: int(chance.integers(len(data)))]


def _taken_out(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    del data[_slice(chance, data)]
    return data


def _doubled(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    piece = data[_slice(chance, data)]
    place = _place(chance, data)
    data[place:place] = bytes(piece) * int(chance.integers(1, 4))
    return data


def _put_in(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    place = _place(chance, data)
    data[place:place] = chance.bytes(int(chance.integers(1, 65)))
    return data


def _zeroed(chance: Chance, data: bytearray, _other: bytes) -> bytearray:
    where = _slice(chance, data)
    data[where] = bytes(len(data[where]))
    return data


def _joined(chance: Chance, data: bytearray, other: bytes) -> bytearray:
    """The beginning of one file and the end of another."""
    return data[: _place(chance, data)] + bytearray(other[int(chance.integers(len(other))) :])


DAMAGES: tuple[Damage, ...] = (
    _bytes_changed,
    _bits_flipped,
    _number_set,
    _number_set,
    _cut_off,
    _taken_out,
    _doubled,
    _put_in,
    _zeroed,
    _joined,
)
