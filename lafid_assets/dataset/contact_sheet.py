"""The contact sheet: a strip of frames of every kept clip, and one of every rejected clip with its reason.

Belongs here: choosing, decoding and arranging the pictures. Not here: charts (`figures`).
"""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lafid_assets.faces.sampling import sample_frames
from lafid_assets.outcomes import ClipError
from model.encoding.footage import Footage

LOGGER = logging.getLogger("lafid.dataset")
TILE_PX = 96
TILES = 6
CAPTION_PX = 16
COLUMNS = 2
MOST_STRIPS = 40


@dataclass(frozen=True)
class Strip:
    """One clip of the sheet."""

    clip_id: str
    shard: str
    duration_s: float
    label: str
    kept: bool


def choose_strips(kept: pl.DataFrame, rejected: pl.DataFrame) -> list[Strip]:
    """Kept clips first (grouped by person), then rejected ones, those that missed most narrowly first; at most 40.

    Where there are more, each half of the sheet keeps its share: a sheet of kept clips alone would show nothing of the rules.

    Args:
        kept, rejected: as `report_data.kept_to_show` and `rejected_to_show` give them, in their order.
    """
    places = max(MOST_STRIPS // 2, MOST_STRIPS - rejected.height)
    shown = [
        _strip(row, f"{row['identity_id']}  {row['speaking_status']}", is_kept=True)
        for row in kept.head(places).iter_rows(named=True)
    ]
    return shown + [
        _strip(row, f"{row['reason']}{_missed(row['miss'])}", is_kept=False)
        for row in rejected.head(MOST_STRIPS - len(shown)).iter_rows(named=True)
    ]


def _strip(row: Mapping[str, Any], words: str, *, is_kept: bool) -> Strip:
    return Strip(row["clip_id"], row["shard"], row["duration_s"], f"{row['clip_id'][:8]}  {words}", is_kept)


def _missed(share: float | None) -> str:
    """Shares beyond the threshold itself say only that it was not close."""
    if share is None:
        return ""
    return f", missed by {share:.0%}" if share < 1 else ", missed by far"


def draw_contact_sheet(strips: Sequence[Strip], places: Mapping[str, Footage]) -> bytes:
    """PNG with two columns of labelled strips; a clip that cannot be decoded any more has an empty strip and a log line.

    Args:
        places: clip to where it lies, of those that can be reached.
    """
    width, height = TILES * TILE_PX, TILE_PX + CAPTION_PX
    lines = (len(strips) + COLUMNS - 1) // COLUMNS
    sheet = Image.new("RGB", (COLUMNS * (width + 8) + 8, max(lines, 1) * (height + 8) + 8), "white")
    pen = ImageDraw.Draw(sheet)
    for index, strip in enumerate(strips):
        x, y = 8 + (index % COLUMNS) * (width + 8), 8 + (index // COLUMNS) * (height + 8)
        pen.rectangle((x, y, x + width, y + CAPTION_PX), fill="black" if strip.kept else "white", outline="black")
        pen.text((x + 4, y + 2), strip.label, fill="white" if strip.kept else "black")
        for tile, image in enumerate(_tiles(strip, places.get(strip.clip_id))):
            sheet.paste(image, (x + tile * TILE_PX, y + CAPTION_PX))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def thumbnail_jpeg(sheet_png: bytes, most_bytes: int) -> bytes:
    """The sheet as a JPEG small enough for Dagster's metadata."""
    image = Image.open(io.BytesIO(sheet_png)).convert("L")
    for quality in (70, 50, 30, 15):
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality)
        if buffer.tell() <= most_bytes:
            break
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    return buffer.getvalue()


def _tiles(strip: Strip, footage: Footage | None) -> list[Image.Image]:
    try:
        if footage is None:
            raise FileNotFoundError("its file has disappeared")
        rate_hz = TILES / max(strip.duration_s, 0.1)
        return [_square(sample.image_rgb) for sample in sample_frames(footage, rate_hz, TILES)]
    except (ClipError, OSError) as error:
        LOGGER.warning("no pictures of %s: %s", strip.clip_id, error)
        return []


def _square(image_rgb: NDArray[np.uint8]) -> Image.Image:
    height, width = image_rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = Image.fromarray(image_rgb[top : top + side, left : left + side])
    return cut.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
