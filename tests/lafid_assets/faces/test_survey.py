"""One clip through the real engine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lafid_assets.faces.survey import SurveySettings, SurveyTask, sharpness, survey_clip
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import FACE_FRAMES, FACE_INFO

SIDE_PX = 192


def _small(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Head and shoulders of the portrait, (192, 192, 3)."""
    return np.asarray(Image.fromarray(portrait[:320, 64:384]).resize((SIDE_PX, SIDE_PX)), np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: NDArray[np.uint8], write_video: Callable[..., Path]) -> Path:
    """Eight tenths of a second: the portrait, and an empty wall in the last frame."""
    face = _small(portrait)
    pictures = np.stack([*[face] * 7, np.full_like(face, 128)])
    return write_video(
        tmp_path_factory.mktemp("survey") / "clip.mp4", pictures=pictures, container_options={"movflags": "faststart"}
    )


def _task(path: Path, duration_s: float | None = 0.8, **settings: float) -> SurveyTask:
    return SurveyTask("a", "shard-00000", path.parent, path.name, duration_s, SurveySettings(**{"rate_hz": 5.0} | settings))


def test_every_sampled_frame_has_a_row_and_every_face_its_measures(clip: Path) -> None:
    found = survey_clip(_task(clip, rate_hz=10.0))
    assert (found.status, found.reason, found.frames_asked) == (Status.OK, None, 8)
    assert [frame["face_count"] for frame in found.frames] == [1] * 7 + [0]
    assert [frame["frame_index"] for frame in found.frames] == list(range(8))
    faces, frames = FACE_INFO.frame(found.faces), FACE_FRAMES.frame(found.frames)
    for table, rows in ((FACE_INFO, faces), (FACE_FRAMES, frames)):
        assert table.violations(rows) == {"schema": [], "unique_key": [], "values": []}
    face = faces.row(0, named=True)
    assert len(face["landmarks_px"]) == 2 * 68
    assert np.linalg.norm(face["embedding"]) == pytest.approx(1, abs=1e-5)
    assert len(face["rotation"]) == 9
    assert abs(face["yaw_deg"]) < 45
    assert face["engine"] == "dlib"
    width, height = face["box_x2"] - face["box_x1"], face["box_y2"] - face["box_y1"]
    assert face["frame_share"] == pytest.approx(width * height / SIDE_PX**2)
    assert frames["luminance"][7] == pytest.approx(128, abs=3)


def test_clip_cut_short_is_an_error_that_keeps_its_rows(
    tmp_path: Path, portrait: NDArray[np.uint8], write_video: Callable[..., Path]
) -> None:
    noisy = _small(portrait) // 2 + np.random.default_rng(0).integers(0, 100, (16, SIDE_PX, SIDE_PX, 3), np.uint8)
    path = write_video(tmp_path / "cut.mp4", pictures=noisy, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    found = survey_clip(_task(path, duration_s=1.6, rate_hz=10.0))
    assert (found.status, found.reason) == (Status.ERROR, Reason.DECODE_FAILED)
    assert found.detail
    assert found.frames_asked == 16
    assert 1 <= len(found.frames) < 8


def test_clip_that_ends_early_without_a_word_is_an_error_too(clip: Path) -> None:
    found = survey_clip(_task(clip, duration_s=2.0))
    assert (found.status, found.reason) == (Status.ERROR, Reason.DECODE_FAILED)
    assert found.detail == "4 of about 10 frames could be decoded: the file is cut short"


def test_file_that_has_gone_is_an_error(clip: Path) -> None:
    found = survey_clip(_task(clip.with_name("gone.mp4")))
    assert (found.status, found.reason, found.frames) == (Status.ERROR, Reason.UNREADABLE, [])
    assert "materialize raw_clips again" in str(found.detail)


def test_clip_of_unknown_length_is_no_error(clip: Path) -> None:
    assert survey_clip(_task(clip, duration_s=None)).status == Status.OK


@pytest.mark.parametrize("changed", [{"rate_hz": 0}, {"rate_hz": 61}, {"max_frames": 0}, {"speed": 1}])
def test_settings_have_bounds(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        SurveySettings(**changed)


def test_blur_lowers_sharpness(portrait: NDArray[np.uint8]) -> None:
    box = (150.0, 50.0, 300.0, 200.0)
    values = [
        sharpness(np.asarray(Image.fromarray(portrait).filter(ImageFilter.GaussianBlur(radius))), box) for radius in (0, 1, 2, 4)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[2]


def test_size_alone_does_not_sharpen(portrait: NDArray[np.uint8]) -> None:
    box = (150.0, 50.0, 300.0, 200.0)
    twice = np.asarray(Image.fromarray(portrait).resize((1024, 1024), Image.Resampling.BICUBIC))
    assert sharpness(twice, tuple(2 * v for v in box)) == pytest.approx(sharpness(portrait, box), rel=0.5)


def test_box_that_reaches_out_is_cut_and_one_outside_is_unmeasured(portrait: NDArray[np.uint8]) -> None:
    assert sharpness(portrait, (-20, -20, 100, 100)) == pytest.approx(sharpness(portrait, (0, 0, 100, 100)))
    for box in ((-90, -90, -10, -10), (-90, 10, -10, 90), (600, 0, 700, 100), (0, 600, 100, 700), (10, 10, 11, 90)):
        assert sharpness(portrait, box) is None
