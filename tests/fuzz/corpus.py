"""Small real files of every kind that is read, from pictures that the demo draws.

Those with Content Credentials are signed anew each time, so their bytes differ from run to run.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from infra.demo.pictures import Shot, draw, look_of
from tests.credentials import AI, XMP, signed, with_xmp

SIDES = ((200, 250), (96, 120))


def corpus() -> dict[str, bytes]:
    """The files by their kind and width."""
    files = {}
    for number, size in enumerate(SIDES):
        first, second = (
            Image.fromarray(draw(look_of(seed), Shot(seed, seed, 0))).resize(size) for seed in (number, number + 50)
        )
        for kind, save in _KINDS.items():
            # Copies: Pillow leaves on a picture how it was saved last, and stumbles over it in another format.
            files[f"{kind}-{size[0]}"] = save(first.copy(), second.copy())
    return files | disclosing()


def disclosing() -> dict[str, bytes]:
    """Files that say where they come from: in a signed manifest, in XMP, in both."""
    packet = XMP.format(f'e:DigitalSourceType="{AI}"/>').encode()
    # Plain pictures: the thumbnail in a manifest is small then, and most damage is done to the rest.
    plain = Image.new("RGB", (64, 48), "teal")
    both = {"JPEG": _saved(plain, "JPEG", xmp=packet), "WEBP": _saved(plain, "WEBP", xmp=packet)}
    forms = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF")
    files = {f"disclosing-signed-{form.lower()}": signed(form, file=_saved(plain, form)) for form in forms}
    files |= {f"disclosing-xmp-{form.lower()}": with_xmp(form, packet) for form in ("JPEG", "PNG", "WEBP", "TIFF")}
    return files | {f"disclosing-both-{form.lower()}": signed(form, file=file) for form, file in both.items()}


def _saved(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _with_exif(picture: Image.Image, form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x0131] = 6, "a picture", "a camera"
    return _saved(picture, form, exif=exif)


def _deep(picture: Image.Image, kind: type = np.uint16) -> Image.Image:
    return Image.fromarray((np.asarray(picture.convert("L")).astype(np.float64) * 257).astype(kind))


def _see_through(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


Save = Callable[[Image.Image, Image.Image], bytes]
_KINDS: dict[str, Save] = {
    "jpeg": lambda one, _: _saved(one, "JPEG", quality=85),
    "jpeg-progressive": lambda one, _: _saved(one, "JPEG", quality=80, progressive=True),
    "jpeg-optimised": lambda one, _: _saved(one, "JPEG", optimize=True, subsampling=0, restart_marker_rows=1),
    "jpeg-cmyk": lambda one, _: _saved(one.convert("CMYK"), "JPEG"),
    "jpeg-grey": lambda one, _: _saved(one.convert("L"), "JPEG"),
    "jpeg-turned": lambda one, _: _with_exif(one, "JPEG"),
    "mpo": lambda one, other: _saved(one, "MPO", save_all=True, append_images=[other]),
    "png": lambda one, _: _saved(one, "PNG"),
    "png-grey": lambda one, _: _saved(one.convert("L"), "PNG"),
    "png-bits": lambda one, _: _saved(one.convert("1"), "PNG"),
    "png-palette": lambda one, _: _saved(one.quantize(64), "PNG", transparency=3),
    "png-alpha": lambda one, _: _saved(_see_through(one), "PNG"),
    "png-grey-alpha": lambda one, _: _saved(_see_through(one).convert("LA"), "PNG"),
    "png-16-bit": lambda one, _: _saved(_deep(one), "PNG"),
    "png-turned": lambda one, _: _with_exif(one, "PNG"),
    "png-animated": lambda one, other: _saved(one, "PNG", save_all=True, append_images=[other], duration=90),
    "webp": lambda one, _: _saved(one, "WEBP", quality=70),
    "webp-lossless": lambda one, _: _saved(_see_through(one), "WEBP", lossless=True),
    "webp-animated": lambda one, other: _saved(one, "WEBP", save_all=True, append_images=[other]),
    "gif": lambda one, _: _saved(one.quantize(64), "GIF", transparency=5),
    "gif-animated": lambda one, other: _saved(one, "GIF", save_all=True, append_images=[other], duration=90, loop=0),
    "tiff": lambda one, _: _saved(one, "TIFF"),
    "tiff-lzw": lambda one, _: _saved(one, "TIFF", compression="tiff_lzw"),
    "tiff-deflate": lambda one, _: _saved(_see_through(one), "TIFF", compression="tiff_adobe_deflate"),
    "tiff-jpeg": lambda one, _: _saved(one, "TIFF", compression="jpeg"),
    "tiff-packbits": lambda one, _: _saved(one.quantize(64), "TIFF", compression="packbits"),
    "tiff-16-bit": lambda one, _: _saved(_deep(one), "TIFF"),
    "tiff-float": lambda one, _: _saved(_deep(one, np.float32), "TIFF"),
    "tiff-cmyk": lambda one, _: _saved(one.convert("CMYK"), "TIFF"),
    "tiff-lab": lambda one, _: _saved(one.convert("LAB"), "TIFF"),
    "tiff-bits": lambda one, _: _saved(one.convert("1"), "TIFF", compression="group4"),
    "tiff-pages": lambda one, other: _saved(one, "TIFF", save_all=True, append_images=[other]),
    "bmp": lambda one, _: _saved(one, "BMP"),
    "bmp-palette": lambda one, _: _saved(one.quantize(16), "BMP"),
    "avif": lambda one, _: _saved(one, "AVIF", quality=60, speed=10),
    "avif-animated": lambda one, other: _saved(one, "AVIF", save_all=True, append_images=[other], speed=10),
}
