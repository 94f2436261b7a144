"""The contact sheet: kept clips by person, rejected ones by reason."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.dataset.contact_sheet import (
    MOST_STRIPS,
    TILE_PX,
    TILES,
    Strip,
    choose_strips,
    draw_contact_sheet,
    thumbnail_jpeg,
)


def _choose(
    endings: dict[str, tuple[str, str]],
    persons: dict[str, str],
    duration_s: float | None = 2.0,
    misses: dict[str, float] | None = None,
) -> list[Strip]:
    outcomes = pl.DataFrame(
        [(clip, status, "", reason) for clip, (status, reason) in endings.items()],
        schema=["clip_id", "status", "step", "reason"],
        orient="row",
    )
    raw = pl.DataFrame({"clip_id": list(endings)}).with_columns(
        clip_root=pl.lit("/r"), path=pl.col("clip_id"), duration_s=pl.lit(duration_s, pl.Float64)
    )
    tags = pl.DataFrame(
        [(clip, person, "silent") for clip, person in persons.items()],
        schema={"clip_id": pl.String, "identity_id": pl.String, "speaking_status": pl.String},
        orient="row",
    )
    missed = pl.DataFrame(list((misses or {}).items()), schema={"clip_id": pl.String, "miss": pl.Float64}, orient="row")
    return choose_strips(outcomes, raw, tags, missed)


def test_kept_come_first_by_person_then_rejected_by_reason() -> None:
    endings = {"1": ("rejected", "z"), "2": ("kept", ""), "3": ("rejected", "a"), "4": ("kept", ""), "5": ("error", "unreadable")}
    strips = _choose(endings, {"2": "person-y", "4": "person-x"})
    assert [(strip.path, strip.kept) for strip in strips] == [("4", True), ("2", True), ("3", False), ("1", False)]
    assert [strip.label for strip in strips] == ["4  person-x  silent", "2  person-y  silent", "3  a", "1  z"]


def test_narrowest_misses_come_first_and_say_by_how_much() -> None:
    endings = {name: ("rejected", "a") for name in ("1", "2", "3")}
    strips = _choose(endings, {}, misses={"1": 0.5, "2": 13.0, "3": 0.02})
    assert [strip.label for strip in strips] == ["3  a, missed by 2%", "1  a, missed by 50%", "2  a, missed by far"]


def test_kept_and_rejected_share_a_sheet_that_is_too_small_for_both() -> None:
    endings = {f"k{n:03}": ("kept", "") for n in range(100)} | {f"r{n:03}": ("rejected", "a") for n in range(5)}
    assert [sum(strip.kept is kept for strip in _choose(endings, {})) for kept in (True, False)] == [MOST_STRIPS - 5, 5]
    endings |= {f"r{n:03}": ("rejected", "a") for n in range(100)}
    assert [sum(strip.kept is kept for strip in _choose(endings, {})) for kept in (True, False)] == [MOST_STRIPS // 2] * 2


def test_no_more_strips_than_a_person_looks_at() -> None:
    assert len(_choose({f"{n:03}": ("rejected", "a") for n in range(100)}, {})) == MOST_STRIPS


def test_clips_of_unknown_length_are_left_out() -> None:
    assert _choose({"1": ("kept", "")}, {"1": "p"}, duration_s=None) == []


def _sheet(strips: list[Strip]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw_contact_sheet(strips))).convert("RGB"))


def test_strip_shows_the_clip_from_beginning_to_end(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "a", seconds=3)
    sheet = _sheet([Strip(str(tmp_path), "a", 3.0, "a", True)])
    row = sheet[8 + 16 + TILE_PX // 2, 8 : 8 + TILES * TILE_PX : TILE_PX].astype(int)[:, 0]
    assert list(row) == sorted(row)
    assert row[0] < 20
    assert row[-1] > 150, "frame 25 of 30 is grey with the value 200"


def test_clip_that_is_gone_has_an_empty_strip_and_a_line(
    tmp_path: Path, write_video: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "b", pictures=np.zeros((10, 48, 64, 3), np.uint8))
    (tmp_path / "torn").write_bytes(b"torn")
    strips = [Strip(str(tmp_path), name, 1.0, name, False) for name in ("gone", "torn", "b")]
    sheet = _sheet(strips)
    assert "no pictures of gone" in caplog.text
    assert "no pictures of torn" in caplog.text
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
