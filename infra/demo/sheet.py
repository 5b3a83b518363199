"""The contact sheet: every published image that shows a twin, beside the reference it shows, with the verdict."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

TILE, THUMB, GAP, TEXT_PX, COLUMNS = (264, 258), (120, 150), 10, 12, 8
TONES = {"licensed": "#1a7f4b", "out_of_scope": "#b26a00", "unlicensed": "#b3261e", "no_use": "#5f6368"}
PAPER, INK = "#f6f5f2", "#222222"
LINES_MAX, LINE_CHARS = 4, 42


@dataclass(frozen=True)
class Sight:
    """One pair: what was published and what is registered."""

    published: bytes
    reference: bytes
    title: str
    edits: str
    verdict: str
    reasons: tuple[str, ...]


def write_sheet(sights: Sequence[Sight], html: Path, png: Path) -> None:
    """Write both forms."""
    thumbs = [(_thumb(sight.published), _thumb(sight.reference)) for sight in sights]
    _png(sights, thumbs).save(png, compress_level=4)
    html.write_text(_html(sights, thumbs), encoding="utf-8")


def _thumb(file: bytes) -> Image.Image:
    with Image.open(BytesIO(file)) as opened:
        opened.draft("RGB", (THUMB[0] * 2, THUMB[1] * 2))
        picture = opened.convert("RGB")
    picture.thumbnail(THUMB)
    return picture


def _png(sights: Sequence[Sight], thumbs: Sequence[tuple[Image.Image, Image.Image]]) -> Image.Image:
    rows = -(-len(sights) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (TILE[0] + GAP) + GAP, max(1, rows) * (TILE[1] + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_PX)
    for number, (sight, pair) in enumerate(zip(sights, thumbs, strict=True)):
        x = GAP + number % COLUMNS * (TILE[0] + GAP)
        y = GAP + number // COLUMNS * (TILE[1] + GAP)
        tone = TONES.get(sight.verdict, INK)
        pen.rectangle((x, y, x + TILE[0], y + TILE[1]), fill="white", outline=tone, width=2)
        for place, thumb in enumerate(pair):
            sheet.paste(thumb, (x + 6 + place * (THUMB[0] + 8), y + 6))
        below = y + THUMB[1] + 12
        pen.text((x + 8, below), f"{sight.verdict.replace('_', ' ')}  ·  {sight.title}", fill=tone, font=font)
        for line_number, line in enumerate((sight.edits, *_lines(sight)), start=1):
            pen.text((x + 8, below + 2 + line_number * 15), line, fill=INK, font=font)
    return sheet


def _lines(sight: Sight) -> list[str]:
    lines = [line for reason in sight.reasons for line in wrap(reason, LINE_CHARS)]
    return [*lines[: LINES_MAX - 1], f"{lines[LINES_MAX - 1][: LINE_CHARS - 2]} …"] if len(lines) > LINES_MAX else lines


def _html(sights: Sequence[Sight], thumbs: Sequence[tuple[Image.Image, Image.Image]]) -> str:
    figures = "\n".join(_figure(sight, pair) for sight, pair in zip(sights, thumbs, strict=True))
    counts = ", ".join(
        f"{sum(sight.verdict == verdict for sight in sights)} {verdict.replace('_', ' ')}" for verdict in TONES
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Twintally demo: contact sheet</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ background: {PAPER}; color: {INK}; font: 14px/1.35 system-ui, sans-serif; margin: 1.5rem }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 12px }}
figure {{ background: #fff; border: 2px solid; border-radius: 6px; margin: 0; padding: 8px }}
figure img {{ width: calc(50% - 4px); vertical-align: top }}
figcaption {{ margin-top: 6px; color: {INK} }}
</style></head><body>
<h1>What was published, beside what is registered</h1>
<p>{len(sights)} sightings: {escape(counts)}. Left the published image, right the reference that it shows.</p>
<main>
{figures}
</main></body></html>
"""


def _figure(sight: Sight, pair: tuple[Image.Image, Image.Image]) -> str:
    tone = TONES.get(sight.verdict, INK)
    published, reference = map(_data_url, pair)
    verdict = escape(sight.verdict.replace("_", " "))
    reasons = "".join(f"<br>{escape(reason)}" for reason in sight.reasons)
    return (
        f'<figure style="border-color: {tone}"><img src="{published}" alt="published image of {escape(sight.title)}">'
        f' <img src="{reference}" alt="the registered reference"><figcaption>'
        f'<strong style="color: {tone}">{verdict}</strong> · {escape(sight.title)}'
        f"<br>{escape(sight.edits)}{reasons}</figcaption></figure>"
    )


def _data_url(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
