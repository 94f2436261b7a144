"""The contact sheet: a strip of frames of every clip that is shown, kept or rejected; and a strip of one clip, a line a frame.

Belongs here: choosing, decoding and arranging the pictures. Not here: charts (`figures`), the page (`report_page`), which frames
of one clip decided (`constraints.explanation`).
"""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lafid_assets.faces.sampling import sample_frames
from lafid_assets.ingest.clip_prefetch import at_hand
from lafid_assets.outcomes import ClipError
from model.encoding.footage import Footage

LOGGER = logging.getLogger("lafid.dataset")
TILE_PX = 96
TILES = 6
CAPTION_PX = 16
COLUMNS = 2
STRIPS_A_PAGE = 20
STRIP_PX, LINE_PX = 200, 18
"""Heights of one clip's strip and of its words."""
MOST_STRIPS = 3 * STRIPS_A_PAGE
"""Most kept clips, and most rejected ones, that are decoded for a report, however many there are."""


@dataclass(frozen=True)
class Strip:
    """One clip that is shown.

    Attributes:
        label: who it is, or why it was rejected.
        person, reason: of a kept and of a rejected clip; empty of the others.
        path, source, caption: as its table and its files say; None where they do not.
    """

    clip_id: str
    shard: str
    duration_s: float
    label: str
    person: str = ""
    reason: str = ""
    path: str | None = None
    source: str | None = None
    caption: str | None = None

    @property
    def kept(self) -> bool:
        """Whether the clip is kept."""
        return not self.reason


def kept_strips(kept: pl.DataFrame) -> list[Strip]:
    """Kept clips by person. `kept`: as `report_data.kept_to_show` gives it."""
    return [
        _strip(row, row, f"{row['identity_id']}  {row['speaking_status']}", person=row["identity_id"])
        for row in kept.iter_rows(named=True)
    ]


def rejected_strips(rejected: pl.DataFrame, said: Mapping[str, Mapping[str, Any]]) -> list[Strip]:
    """Rejected clips, those that missed most narrowly first.

    Args:
        rejected: as `report_data.rejected_to_show` gives it.
        said: as `report_outcomes.said_of` gives it of these clips.
    """
    return [
        _strip(row, said.get(row["clip_id"], {}), f"{row['reason']}{_missed(row['miss'])}", reason=row["reason"])
        for row in rejected.iter_rows(named=True)
    ]


def _strip(row: Mapping[str, Any], said: Mapping[str, Any], label: str, **what: str) -> Strip:
    strip = Strip(row["clip_id"], row["shard"], row["duration_s"], label, **what)
    return replace(strip, path=said.get("path"), source=said.get("source"), caption=said.get("caption"))


def _missed(share: float | None) -> str:
    """Shares beyond the threshold itself say only that it was not close."""
    if share is None:
        return ""
    return f", missed by {share:.0%}" if share < 1 else ", missed by far"


def draw_strips(strips: Sequence[Strip], places: Mapping[str, Footage]) -> dict[str, Image.Image]:
    """Clip to its frames side by side, from its beginning to its end. One log line counts those that cannot be decoded any more.

    Args:
        places: clip to where it lies, of those that can be reached.
    """
    pictures, missing = {}, []
    for strip in strips:
        try:
            pictures[strip.clip_id] = _frames(strip, places.get(strip.clip_id))
        except (ClipError, OSError) as error:
            missing.append(f"{strip.clip_id}: {error}")
    if missing:
        LOGGER.warning("no pictures of %d of %d clips, the first: %s", len(missing), len(strips), missing[0])
    return pictures


def draw_contact_sheet(strips: Sequence[Strip], pictures: Mapping[str, Image.Image]) -> bytes:
    """PNG with the first page of kept and of rejected clips in two columns; a clip without picture has an empty strip.

    Args:
        pictures: as `draw_strips` gives them.
    """
    sides = ([strip for strip in strips if strip.kept is kept] for kept in (True, False))
    shown = [strip for side in sides for strip in side[:STRIPS_A_PAGE]]
    width, height = TILES * TILE_PX, TILE_PX + CAPTION_PX
    lines = (len(shown) + COLUMNS - 1) // COLUMNS
    sheet = Image.new("RGB", (COLUMNS * (width + 8) + 8, max(lines, 1) * (height + 8) + 8), "white")
    pen = ImageDraw.Draw(sheet)
    for index, strip in enumerate(shown):
        x, y = 8 + (index % COLUMNS) * (width + 8), 8 + (index // COLUMNS) * (height + 8)
        pen.rectangle((x, y, x + width, y + CAPTION_PX), fill="black" if strip.kept else "white", outline="black")
        pen.text((x + 4, y + 2), f"{strip.clip_id[:8]}  {strip.label}", fill="white" if strip.kept else "black")
        if strip.clip_id in pictures:
            sheet.paste(pictures[strip.clip_id], (x, y + CAPTION_PX))
    return encoded(sheet, "PNG", optimize=True)


def thumbnail_jpeg(sheet_png: bytes, most_bytes: int) -> bytes:
    """The sheet as a JPEG small enough for Dagster's metadata."""
    image = Image.open(io.BytesIO(sheet_png)).convert("L")
    for quality in (70, 50, 30, 15):
        small = encoded(image, "JPEG", quality=quality)
        if len(small) <= most_bytes:
            break
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS)
    return small


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture's bytes as PNG or JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _frames(strip: Strip, footage: Footage | None) -> Image.Image:
    if footage is None:
        raise FileNotFoundError("its file has disappeared")
    rate_hz = TILES / max(strip.duration_s, 0.1)
    with at_hand(footage):
        tiles = [_square(sample.image_rgb) for sample in sample_frames(footage, rate_hz, TILES)]
    picture = Image.new("RGB", (TILES * TILE_PX, TILE_PX), "white")
    for place, tile in enumerate(tiles):
        picture.paste(tile, (place * TILE_PX, 0))
    return picture


def _square(image_rgb: NDArray[np.uint8]) -> Image.Image:
    height, width = image_rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = Image.fromarray(image_rgb[top : top + side, left : left + side])
    return cut.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)


def draw_strip(pictures: Sequence[tuple[NDArray[np.uint8], str]]) -> bytes:
    """PNG of the frames at one height, in their own proportions, words below.

    Args:
        pictures: ((H, W, 3) RGB, words) from left to right; at least one.
    """
    frames = [Image.fromarray(image).convert("RGB") for image, _ in pictures]
    scaled = [frame.resize((max(1, round(frame.width * STRIP_PX / frame.height)), STRIP_PX)) for frame in frames]
    strip = Image.new("RGB", (sum(frame.width + 4 for frame in scaled), STRIP_PX + LINE_PX), "white")
    pen, x = ImageDraw.Draw(strip), 0
    for frame, (_, words) in zip(scaled, pictures, strict=True):
        strip.paste(frame, (x, 0))
        pen.text((x + 2, STRIP_PX + 3), words, fill="black")
        x += frame.width + 4
    return encoded(strip, "PNG", optimize=True)
