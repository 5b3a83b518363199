"""Pictures that tests draw themselves: textured, each its own, the same for the same seed."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def draw(seed: int, size: tuple[int, int] = (800, 1000)) -> Image.Image:
    """A busy picture of shapes on a textured ground."""
    chance = np.random.default_rng(seed)
    width, height = size
    small = chance.integers(0, 255, (height // 40, width // 40, 3), dtype=np.uint8)
    ground = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    grain = chance.normal(0, 18, (height, width, 1))
    image = Image.fromarray(np.clip(np.asarray(ground) + grain, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(90):
        x, y = int(chance.integers(0, width)), int(chance.integers(0, height))
        w, h = (int(side) for side in chance.integers(15, 160, 2))
        colour = tuple(int(part) for part in chance.integers(0, 255, 3))
        shape = [pen.ellipse, pen.rectangle][int(chance.integers(0, 2))]
        shape((x, y, x + w, y + h), fill=colour, outline=(0, 0, 0), width=2)
    return image.filter(ImageFilter.GaussianBlur(0.6))


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def cropped(image: Image.Image, share: float = 0.75) -> Image.Image:
    """The middle of the picture."""
    width, height = image.size
    left, top = int(width * (1 - share) / 2), int(height * (1 - share) / 2)
    return image.crop((left, top, width - left, height - top))
