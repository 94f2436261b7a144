"""The contact sheet: kept clips by person, rejected ones by reason."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.dataset.contact_sheet import (
    LINE_PX,
    STRIP_PX,
    STRIPS_A_PAGE,
    TILE_PX,
    TILES,
    Strip,
    draw_contact_sheet,
    draw_strip,
    draw_strips,
    kept_strips,
    rejected_strips,
    thumbnail_jpeg,
)

KNOWN = {"clip_id": pl.String, "shard": pl.String, "duration_s": pl.Float64}
KEPT = KNOWN | {"identity_id": pl.String, "speaking_status": pl.String}
REJECTED = KNOWN | {"reason": pl.String, "miss": pl.Float64}


def _choose(persons: dict[str, str], reasons: dict[str, tuple[str, float | None]]) -> list[Strip]:
    """Kept clips as {clip: person}, rejected ones as {clip: (reason, miss)}, whose first one has a file."""
    kept = pl.DataFrame([(clip, "s", 2.0, person, "silent") for clip, person in persons.items()], schema=KEPT, orient="row")
    rejected = pl.DataFrame([(clip, "s", 2.0, *said) for clip, said in reasons.items()], schema=REJECTED, orient="row")
    return kept_strips(kept) + rejected_strips(rejected, {clip: {"path": f"{clip}.mp4"} for clip in list(reasons)[:1]})


def test_kept_come_first_then_rejected_with_reason_and_miss() -> None:
    reasons = {"1": ("z", 0.02), "3": ("a", 0.5), "5": ("a", 13.0), "6": ("b", None)}
    strips = _choose({"4": "person-x", "2": "person-y"}, reasons)
    assert [(strip.clip_id, strip.kept) for strip in strips] == [
        *[("4", True), ("2", True)],
        *[(clip, False) for clip in reasons],
    ]
    assert [strip.label for strip in strips] == [
        "person-x  silent",
        "person-y  silent",
        "z, missed by 2%",
        "a, missed by 50%",
        "a, missed by far",
        "b",
    ]
    assert [(strip.person, strip.reason, strip.path) for strip in strips[1:4]] == [
        ("person-y", "", None),
        ("", "z", "1.mp4"),
        ("", "a", None),
    ]


def test_the_sheet_has_the_first_page_of_kept_and_of_rejected_clips() -> None:
    persons = {f"k{n:03}": "p" for n in range(100)}
    few, many = ({f"r{n:03}": ("a", None) for n in range(count)} for count in (5, 100))
    (lines, few_lines) = (_sheet(_choose(persons, reasons)).shape[0] for reasons in (many, few))
    assert few_lines / lines == pytest.approx((STRIPS_A_PAGE + 5) / (2 * STRIPS_A_PAGE), abs=0.05)


def _sheet(strips: list[Strip], folder: Path | None = None) -> np.ndarray:
    places = {path.name: path for path in folder.iterdir()} if folder else {}
    return np.asarray(Image.open(io.BytesIO(draw_contact_sheet(strips, draw_strips(strips, places)))).convert("RGB"))


def test_strip_shows_the_clip_from_beginning_to_end(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "a", seconds=3)
    sheet = _sheet([Strip("a", "s", 3.0, "a", person="p")], tmp_path)
    row = sheet[8 + 16 + TILE_PX // 2, 8 : 8 + TILES * TILE_PX : TILE_PX].astype(int)[:, 0]
    assert list(row) == sorted(row)
    assert row[0] < 20
    assert row[-1] > 150, "frame 25 of 30 is grey with the value 200"


def test_clip_that_is_gone_has_an_empty_strip_and_a_line(
    tmp_path: Path, write_video: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "b", pictures=np.zeros((10, 48, 64, 3), np.uint8))
    (tmp_path / "torn").write_bytes(b"torn")
    strips = [Strip(name, "s", 1.0, name, reason="r") for name in ("gone", "torn", "b")]
    sheet = _sheet(strips, tmp_path)
    assert [record.message.partition(": ")[0] for record in caplog.records] == ["no pictures of 2 of 3 clips, the first"]
    assert "gone: " in caplog.text
    assert (sheet[8 + 17 : 8 + 16 + TILE_PX, 8 : 8 + TILES * TILE_PX] == 255).all()
    assert sheet[8 + 16 + TILE_PX + 24 + TILE_PX // 2, 8 + TILE_PX // 2].max() < 30


def test_no_clips_are_a_white_sheet() -> None:
    assert (_sheet([]) == 255).all()


def test_thumbnail_is_small_enough(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 1200, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG")
    for most_bytes in (400_000, 120_000):
        small = thumbnail_jpeg(buffer.getvalue(), most_bytes)
        assert len(small) <= most_bytes
        assert Image.open(io.BytesIO(small)).format == "JPEG"


def test_frames_stand_in_order_and_keep_their_proportions() -> None:
    red, blue = np.zeros((100, 50, 3), np.uint8), np.zeros((50, 100, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    strip = Image.open(io.BytesIO(draw_strip([(red, "first"), (blue, "second")])))
    assert strip.size == (STRIP_PX // 2 + 4 + 2 * STRIP_PX + 4, STRIP_PX + LINE_PX)
    assert strip.getpixel((STRIP_PX // 4, 100)) == (255, 0, 0)
    assert strip.getpixel((STRIP_PX, 100)) == (0, 0, 255)
    words = np.asarray(strip.convert("L"))[STRIP_PX:]
    assert (words[:, : STRIP_PX // 2] < 128).any()
    assert (words[:, STRIP_PX // 2 + 6 :] < 128).any()
