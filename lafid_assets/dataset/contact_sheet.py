"""The contact sheet: a strip of frames of every kept clip, and one of every rejected clip with its reason.

Belongs here: choosing, decoding and arranging the pictures. Not here: charts (`figures`).
"""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lafid_assets.faces.sampling import sample_frames
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError

LOGGER = logging.getLogger("lafid.dataset")
TILE_PX = 96
TILES = 6
CAPTION_PX = 16
COLUMNS = 2
MOST_STRIPS = 40


@dataclass(frozen=True)
class Strip:
    """One clip of the sheet."""

    clip_root: str
    path: str
    duration_s: float
    label: str
    kept: bool


def choose_strips(outcomes: pl.DataFrame, raw_clips: pl.DataFrame, tags: pl.DataFrame, misses: pl.DataFrame) -> list[Strip]:
    """Kept clips first (grouped by person), then rejected ones, those that missed most narrowly first; at most 40.

    Where there are more, each half of the sheet keeps its share: a sheet of kept clips alone would show nothing of the rules.

    Args:
        outcomes: rows of `funnel.clip_outcomes`.
        tags: `clip_id`, `identity_id` and `speaking_status` of the kept clips.
        misses: `clip_id` and `miss` as `constraints.margins` gives them, for clips that the face constraints rejected.
    """
    rows = (
        outcomes.filter(pl.col("status").is_in(["kept", "rejected"]))
        .join(raw_clips.select("clip_id", "clip_root", "path", "duration_s"), on="clip_id")
        .join(tags.select("clip_id", "identity_id", "speaking_status"), on="clip_id", how="left")
        .join(misses, on="clip_id", how="left")
        .filter(pl.col("duration_s").is_not_null())
        .sort(pl.col("status") != "kept", "identity_id", "miss", "reason", "clip_id", nulls_last=True)
    )
    kept, rejected = rows.filter(pl.col("status") == "kept"), rows.filter(pl.col("status") != "kept")
    places = max(MOST_STRIPS // 2, MOST_STRIPS - rejected.height)
    rows = pl.concat([kept.head(places), rejected.head(MOST_STRIPS - min(kept.height, places))])
    return [
        Strip(
            row["clip_root"],
            row["path"],
            row["duration_s"],
            f"{row['clip_id'][:8]}  {row['identity_id']}  {row['speaking_status']}"
            if row["status"] == "kept"
            else f"{row['clip_id'][:8]}  {row['reason']}{_missed(row['miss'])}",
            row["status"] == "kept",
        )
        for row in rows.iter_rows(named=True)
    ]


def _missed(share: float | None) -> str:
    """Shares beyond the threshold itself say only that it was not close."""
    if share is None:
        return ""
    return f", missed by {share:.0%}" if share < 1 else ", missed by far"


def draw_contact_sheet(strips: Sequence[Strip]) -> bytes:
    """PNG with two columns of labelled strips; a clip that cannot be decoded any more has an empty strip and a log line."""
    width, height = TILES * TILE_PX, TILE_PX + CAPTION_PX
    lines = (len(strips) + COLUMNS - 1) // COLUMNS
    sheet = Image.new("RGB", (COLUMNS * (width + 8) + 8, max(lines, 1) * (height + 8) + 8), "white")
    pen = ImageDraw.Draw(sheet)
    for index, strip in enumerate(strips):
        x, y = 8 + (index % COLUMNS) * (width + 8), 8 + (index // COLUMNS) * (height + 8)
        pen.rectangle((x, y, x + width, y + CAPTION_PX), fill="black" if strip.kept else "white", outline="black")
        pen.text((x + 4, y + 2), strip.label, fill="white" if strip.kept else "black")
        for tile, image in enumerate(_tiles(strip)):
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


def _tiles(strip: Strip) -> list[Image.Image]:
    try:
        path = resolve(Path(strip.clip_root), strip.path)
        if path is None:
            raise FileNotFoundError(strip.path)
        rate_hz = TILES / max(strip.duration_s, 0.1)
        return [_square(sample.image_rgb) for sample in sample_frames(path, rate_hz, TILES)]
    except (ClipError, OSError) as error:
        LOGGER.warning("no pictures of %s: %s", strip.path, error)
        return []


def _square(image_rgb: NDArray[np.uint8]) -> Image.Image:
    height, width = image_rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = Image.fromarray(image_rgb[top : top + side, left : left + side])
    return cut.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
