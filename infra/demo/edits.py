"""What platforms and thieves do to pictures before they publish them."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from infra.demo.pictures.shapes import Chance, Image, fill, from_jpeg, to_jpeg

Edit = Callable[[Chance, Image], Image]


def edited(picture: Image, edits: tuple[str, ...], seed: int) -> bytes:
    """The picture as a JPEG file after these edits, in their order; `recompress` is how the file is saved at last."""
    chance = np.random.default_rng((seed, 6))
    for name in edits:
        picture = EDITS[name](chance, picture)
    quality = int(chance.integers(38, 60)) if "recompress" in edits else int(chance.integers(78, 93))
    return to_jpeg(np.ascontiguousarray(picture), quality)


def recompress(_chance: Chance, picture: Image) -> Image:
    """Saved again, with loss."""
    return from_jpeg(to_jpeg(picture, 55))


def resize(chance: Chance, picture: Image) -> Image:
    """Smaller, as a platform serves it."""
    scale = float(chance.uniform(0.55, 0.8))
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def crop(chance: Chance, picture: Image) -> Image:
    """A part: four fifths or so of each side."""
    height, width = picture.shape[:2]
    across, down = int(width * chance.uniform(0.78, 0.9)), int(height * chance.uniform(0.78, 0.9))
    x, y = int(chance.integers(0, width - across)), int(chance.integers(0, height - down))
    return picture[y : y + down, x : x + across].copy()


def flip(_chance: Chance, picture: Image) -> Image:
    """Mirrored, so that no search finds it."""
    return picture[:, ::-1].copy()


def caption(chance: Chance, picture: Image) -> Image:
    """Words on a band across it."""
    marked = picture.copy()
    height, width = marked.shape[:2]
    y, thick = int(height * chance.uniform(0.62, 0.78)), int(height * 0.08)
    marked[y : y + thick] = (marked[y : y + thick] * 0.3).astype(np.uint8)
    words = CAPTIONS[int(chance.integers(len(CAPTIONS)))]
    _write(marked, words, (int(width * 0.05), y + int(thick * 0.68)), width / 620)
    return marked


def screenshot(chance: Chance, picture: Image) -> Image:
    """A telephone's screen that shows it in an app."""
    width = picture.shape[1]
    bar, row, foot = int(width * 0.06), int(width * 0.13), int(width * 0.3)
    screen = np.full((bar + row + picture.shape[0] + foot, width, 3), 250, np.uint8)
    screen[bar + row : bar + row + picture.shape[0]] = picture
    size = width / 900
    _write(screen, f"{chance.integers(8, 20)}:{chance.integers(10, 59)}", (20, int(bar * 0.8)), size, (20, 20, 20))
    fill(
        screen,
        [(width - 70, bar * 0.3), (width - 24, bar * 0.3), (width - 24, bar * 0.8), (width - 70, bar * 0.8)],
        (20, 20, 20),
    )
    middle = bar + row // 2
    cv2.circle(screen, (row // 2 + 8, middle), int(row * 0.36), (210, 90, 140), cv2.FILLED, cv2.LINE_AA)
    _write(screen, f"user_{chance.integers(100, 9999)}", (row + 16, middle + 8), size, (20, 20, 20))
    below = bar + row + picture.shape[0]
    for place in range(3):
        cv2.circle(screen, (46 + place * 74, below + 44), 20, (60, 60, 60), 3, cv2.LINE_AA)
    _write(screen, f"{chance.integers(100, 99999)} likes", (24, below + 110), size, (20, 20, 20))
    _write(screen, CAPTIONS[int(chance.integers(len(CAPTIONS)))], (24, below + 160), size, (90, 90, 90))
    return screen


def recolour(chance: Chance, picture: Image) -> Image:
    """A mild filter: warmer or cooler, brighter or darker, with more contrast."""
    gains = chance.uniform(0.92, 1.08, 3) * chance.uniform(0.95, 1.05)
    return np.clip((picture - 128.0) * chance.uniform(0.95, 1.1) * gains + 128 + chance.uniform(-8, 8), 0, 255).astype(
        np.uint8
    )


EDITS: Mapping[str, Edit] = {
    "recompress": recompress,
    "resize": resize,
    "crop": crop,
    "flip": flip,
    "caption": caption,
    "screenshot": screenshot,
    "recolour": recolour,
}
CAPTIONS = ("new drop friday", "love this look", "link in bio", "sale ends tonight", "my new coat")


def _write(
    picture: Image, text: str, at: tuple[int, int], size: float, tone: tuple[int, int, int] = (255, 255, 255)
) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, tone, max(1, round(size * 2)), cv2.LINE_AA)
