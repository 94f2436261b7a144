"""The whole footage, looked at through the embedded face engine: what curation is promised is there."""

from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest

from lafid_assets.outcomes import Reason, Status
from lafid_assets.sample_footage.manifest import MANIFEST_NAME, SampleClip, SampleManifest
from model.face_engine.dlib_engine import DlibEngine
from model.face_engine.interface import Face
from tests.demo_home import Demo

pytestmark = [pytest.mark.e2e, pytest.mark.long]
EVERY_NTH_FRAME = 5


@pytest.fixture(scope="module")
def footage(demo: Demo) -> tuple[Path, SampleManifest]:
    """The demo's: it takes a minute to build."""
    folder = demo.home / "sample_footage"
    return folder, SampleManifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())


@pytest.fixture(scope="module")
def seen(footage: tuple[Path, SampleManifest]) -> dict[str, list[list[Face]]]:
    """Faces of every n-th frame by scene, for all clips that can be decoded."""
    folder, manifest = footage
    engine = DlibEngine()
    faces: dict[str, list[list[Face]]] = {}
    for clip in manifest.clips:
        if clip.sha256 is None or clip.expected_status == Status.ERROR:
            continue
        with av.open(str(folder / clip.path)) as container:
            frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i % EVERY_NTH_FRAME == 0]
        faces[clip.scene] = [engine.detect(frame) for frame in frames]
    return faces


def clips_with(manifest: SampleManifest, reason: Reason | None) -> list[SampleClip]:
    return [clip for clip in manifest.clips if clip.expected_reason == reason]


def largest(frames: list[list[Face]]) -> list[Face]:
    return [faces[0] for faces in frames if faces]


def test_kept_clips_show_one_face_that_turns_far(footage: tuple[Path, SampleManifest], seen: dict[str, list[list[Face]]]) -> None:
    for clip in footage[1].kept:
        frames = seen[clip.scene]
        angles = np.array([face.angles for face in largest(frames) if face.angles])
        ranges = np.ptp(angles, axis=0)
        found = np.mean([len(faces) >= 1 for faces in frames])
        print(f"{clip.scene}: found {found:.2f}, yaw {angles[:, 0].min():.0f}..{angles[:, 0].max():.0f}, sum {ranges.sum():.0f}")
        assert found >= 0.85
        assert np.mean([len(faces) > 1 for faces in frames]) <= 0.05
        assert len(angles) >= 0.6 * len(frames)
        assert angles[:, 0].min() < -18
        assert angles[:, 0].max() > 18
        assert ranges.sum() > 65


def test_two_clips_of_a_person_are_closer_than_any_two_persons(
    footage: tuple[Path, SampleManifest], seen: dict[str, list[list[Face]]]
) -> None:
    centroids = {}
    for clip in footage[1].kept:
        mean = np.mean([face.embedding for face in largest(seen[clip.scene]) if face.embedding is not None], axis=0)
        centroids[clip] = mean / np.linalg.norm(mean)
    same, different = [], []
    for first, second in combinations(centroids, 2):
        distance = float(np.linalg.norm(centroids[first] - centroids[second]))
        (same if first.persons == second.persons else different).append(distance)
    print(f"same person at most {max(same):.2f}, different persons at least {min(different):.2f}")
    assert len({clip.persons for clip in centroids}) >= 4
    assert max(same) < 0.15
    assert min(different) > 0.40


def test_every_rejected_clip_shows_what_it_is_rejected_for(
    footage: tuple[Path, SampleManifest], seen: dict[str, list[list[Face]]]
) -> None:
    manifest = footage[1]
    for clip in clips_with(manifest, Reason.NO_FACE):
        assert not any(seen[clip.scene])
    for clip in clips_with(manifest, Reason.SEVERAL_FACES):
        assert np.mean([len(faces) == 2 for faces in seen[clip.scene]]) > 0.5
    for clip in clips_with(manifest, Reason.FACE_TOO_SMALL):
        assert {len(faces) for faces in seen[clip.scene]} <= {0, 1}
        assert np.mean([bool(faces) for faces in seen[clip.scene]]) > 0.8
        heights = [face.box_xyxy_px[3] - face.box_xyxy_px[1] for face in largest(seen[clip.scene])]
        assert np.median(heights) / 480 < 0.16
    for clip in clips_with(manifest, Reason.POSE_VARIATION_LOW):
        angles = np.array([face.angles for face in largest(seen[clip.scene]) if face.angles])
        assert np.ptp(angles, axis=0).sum() < 25
    for clip in clips_with(manifest, Reason.SPLIT):
        first, last = (largest(part)[0].embedding for part in (seen[clip.scene][:3], seen[clip.scene][-3:]))
        assert first is not None
        assert last is not None
        assert float(np.linalg.norm(first - last)) > 0.42


def test_broken_files_cannot_be_opened(footage: tuple[Path, SampleManifest]) -> None:
    folder, manifest = footage
    broken = [clip for clip in manifest.clips if clip.expected_status == Status.ERROR]
    assert len(broken) == 2
    for clip in broken:
        with pytest.raises(av.FFmpegError):
            av.open(str(folder / clip.path))
