"""A few looks into real files, with an engine that sees drawn faces."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lafid_assets.faces.scan import scan_clip
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.outcomes import Reason
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO
from model.face_engine.five_points import FACE_HEIGHT

ENGINE = {"engine": "x", "engine_version": "x", "engine_licence": "x", "engine_reason": "x"}
MIDDLE = ("red", 60, 20, 40)


@pytest.fixture
def scan(
    tmp_path: Path, write_video: Callable[..., Path], draw_face: Callable[..., Any], drawn_engine: Any
) -> Callable[..., Any]:
    """Scan a clip of two seconds, given the faces of each frame."""

    def of(*moments: tuple[Any, ...], still: bool = False, side_px: int = 80) -> Any:
        pictures = np.stack([draw_face(*faces, moment=0 if still else n) for n, faces in enumerate(moments)])
        path = write_video(tmp_path / "clip.mp4", pictures=pictures, options={"crf": "5"})
        return scan_clip("a", "shard-00000", path, ScanMargins(scan_side_px={"drawn": side_px}), drawn_engine)

    return of


def _turning(count: int) -> list[tuple[Any, ...]]:
    return [(("red", 10 + 100 * n // count, 20, 40),) for n in range(count)]


@pytest.mark.parametrize(
    ("moments", "verdict", "looks"),
    [
        ([()] * 20, Reason.NO_FACE, 6),
        ([(MIDDLE,)] * 20, Reason.POSE_VARIATION_LOW, 6),
        ([(("red", 20, 20, 40), ("blue", 100, 20, 38))] * 20, Reason.SEVERAL_FACES, 3),
        (_turning(20), None, 3),
        ([()] * 15 + _turning(5), None, 6),
    ],
)
def test_the_hopeless_are_dropped_and_named(
    scan: Callable[..., Any], moments: list[Any], verdict: Reason | None, looks: int
) -> None:
    found = scan(*moments)
    assert found.verdict == verdict
    assert (len(found.frames), found.frames_asked) == (looks, 6)


def test_a_far_face_is_too_small(scan: Callable[..., Any]) -> None:
    found = scan(*[(("red", 60, 40, 8),)] * 20, side_px=160)
    assert (found.verdict, len(found.frames)) == (Reason.FACE_TOO_SMALL, 3)


def test_a_still_picture_is_static(scan: Callable[..., Any]) -> None:
    assert scan(*[(MIDDLE,)] * 20, still=True).verdict == Reason.STATIC


def test_rows_keep_the_contract_in_pixels_of_the_full_frame(scan: Callable[..., Any]) -> None:
    found = scan(*[(MIDDLE,)] * 20)
    frames = FACE_FRAMES.frame(row | ENGINE for row in found.frames)
    faces = FACE_INFO.frame({name: (row | ENGINE)[name] for name in FACE_INFO.dtypes} for row in found.faces)
    for table, rows in ((FACE_FRAMES, frames), (FACE_INFO, faces)):
        assert table.violations(rows) == []
    assert set(frames["tier"]) == set(faces["tier"]) == {"scan"}
    assert frames["frame_index"].to_list() == [0, 4, 7, 10, 13, 16]
    face = faces.row(0, named=True)
    assert [face[f"box_{edge}"] for edge in ("x1", "y1", "x2", "y2")] == pytest.approx([60, 20, 90, 60], abs=3)
    assert (face["rotation"], face["track_id"], face["sharpness"]) == (None, None, None)
    assert {row["embedding"] for row in found.faces} == {None}
    assert face["coarse_yaw_deg"] == pytest.approx(60 - 120 * 75 / 160, abs=3)
    assert len(face["landmarks_px"]) == 2 * 68
    assert (frames["width"][0], frames["height"][0]) == (160, 96)


def test_no_full_picture_and_no_costly_model_is_asked_for(scan: Callable[..., Any], drawn_engine: Any) -> None:
    scan(*[(MIDDLE,)] * 20)
    assert drawn_engine.asked == ["glance"] * 6


def test_before_a_clip_counts_as_empty_its_middle_is_looked_at_closely(
    scan: Callable[..., Any], drawn_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn_engine, "glance", lambda image, side_px: [])
    assert scan(*[(MIDDLE,)] * 20).verdict is None
    assert drawn_engine.asked == ["detect"]
    assert scan(*[()] * 20).verdict == Reason.NO_FACE


def test_a_face_behind_the_last_look_is_a_face(scan: Callable[..., Any]) -> None:
    late = scan(*[()] * 18, (MIDDLE,), (MIDDLE,))
    assert (late.verdict, late.faces) == (None, [])


def test_a_face_seen_by_halves_is_looked_at_closely_where_it_showed(
    scan: Callable[..., Any], drawn_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows in one early look, far away and turned, so that a glance is not sure of it."""
    seen = drawn_engine.glance
    monkeypatch.setattr(drawn_engine, "glance", lambda image, side_px: [replace(f, score=-0.1) for f in seen(image, side_px=160)])
    assert scan(*[()] * 3, *[(("red", 60, 40, 8),)] * 3, *[()] * 14, side_px=160).verdict is None
    assert drawn_engine.asked[-1] == "detect"


def test_a_face_is_as_large_as_the_shorter_side_says(scan: Callable[..., Any], drawn_engine: Any) -> None:
    """Ten of a hundred in a wide picture, as high as it is in the tables."""
    found = scan(*[(MIDDLE,)] * 20)
    heights = {round(face["head_height_px"] / 10) for face in found.faces}
    assert heights == {round(FACE_HEIGHT * 40 / 2 / 10)}


def test_what_cannot_be_looked_into_is_left_to_the_survey(tmp_path: Path, drawn_engine: Any) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nothing to see" * 100)
    found = scan_clip("a", "shard-00000", path, ScanMargins(), drawn_engine)
    assert (found.verdict, found.frames) == (None, [])


def test_a_speck_that_only_a_glance_takes_for_a_face_is_no_small_face(
    scan: Callable[..., Any], drawn_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = drawn_engine.glance
    monkeypatch.setattr(drawn_engine, "glance", lambda image, side_px: [replace(f, score=-0.1) for f in seen(image, side_px=160)])
    speck = [(("red", 60, 40, 8),)] * 20
    assert scan(*speck, side_px=160).verdict is None  # its middle, looked at closely, shows a face after all
    monkeypatch.setattr(drawn_engine, "detect", lambda image, embed: [])
    assert scan(*speck, side_px=160).verdict == Reason.NO_FACE
