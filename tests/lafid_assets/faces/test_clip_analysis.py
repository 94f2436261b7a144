"""One clip through its tiers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lafid_assets.faces import clip_analysis as module
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask, analyse_clip, is_audited
from lafid_assets.outcomes import Reason, Status

SIDE = {"scan_side_px": {"drawn": 80}, "rate_hz": 5.0}


@pytest.fixture
def clips(
    tmp_path: Path,
    write_video: Callable[..., Path],
    draw_face: Callable[..., Any],
    drawn_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with a face that turns, one that does not, and an empty wall."""
    monkeypatch.setattr(module, "load_face_engine", lambda choice: drawn_engine)
    module._engine.cache_clear()
    paths = {"turning": lambda n: 10 + 5 * n, "frontal": lambda n: 60, "empty": lambda n: None}
    for name, left in paths.items():
        faces = [[] if left(n) is None else [("red", left(n), 20, 40)] for n in range(20)]
        pictures = np.stack([draw_face(*of_frame, moment=n) for n, of_frame in enumerate(faces)])
        write_video(tmp_path / name, pictures=pictures, options={"crf": "5"})
    return tmp_path


def _analyse(folder: Path, path: str, **settings: Any) -> AnalysedClip:
    return analyse_clip(ClipTask(path, "shard-00000", folder / path, 2.0, None, AnalysisSettings(**SIDE | settings)))


def test_what_the_scan_leaves_is_surveyed_and_only_the_survey_has_rows(clips: Path, drawn_engine: Any) -> None:
    clip = _analyse(clips, "turning")
    assert (clip.status, clip.reason, clip.tier, clip.scan_verdict, clip.audited) == (Status.OK, None, "survey", None, False)
    assert clip.frames_asked == len(clip.frames) == 10
    assert {row["tier"] for row in (*clip.frames, *clip.faces)} == {"survey"}
    assert drawn_engine.asked == ["glance"] * 3 + ["detect_many 10"]


@pytest.mark.parametrize(("path", "reason"), [("frontal", Reason.POSE_VARIATION_LOW), ("empty", Reason.NO_FACE)])
def test_what_the_scan_drops_is_rejected_with_the_rows_of_its_looks(clips: Path, path: str, reason: Reason) -> None:
    clip = _analyse(clips, path, audit_share=0.0)
    assert (clip.status, clip.reason, clip.tier, clip.scan_verdict) == (Status.REJECTED, reason, "scan", reason)
    assert clip.frames_asked == len(clip.frames) == 6
    assert clip.detail == "after 6 looks"
    assert {row["tier"] for row in (*clip.frames, *clip.faces)} == {"scan"}


def test_without_the_scan_everything_is_surveyed(clips: Path, drawn_engine: Any) -> None:
    clip = _analyse(clips, "frontal", scan=False)
    assert (clip.status, clip.tier, clip.scan_verdict, len(clip.frames)) == (Status.OK, "survey", None, 10)
    assert drawn_engine.asked == ["detect_many 10"]


def test_the_rows_of_the_survey_do_not_depend_on_the_scan(clips: Path) -> None:
    assert _analyse(clips, "turning").faces == _analyse(clips, "turning", scan=False).faces


def test_an_audited_clip_keeps_its_verdict_and_is_surveyed(clips: Path) -> None:
    clip = _analyse(clips, "frontal", audit_share=1.0)
    assert (clip.status, clip.reason, clip.tier, clip.audited) == (Status.OK, None, "survey", True)
    assert clip.scan_verdict == Reason.POSE_VARIATION_LOW
    assert not _analyse(clips, "turning", audit_share=1.0).audited


def test_the_audited_share_is_drawn_by_id_and_seed() -> None:
    ids = [f"clip-{n}" for n in range(4000)]
    drawn = {seed: {name for name in ids if is_audited(name, AnalysisSettings(audit_seed=seed))} for seed in (0, 1)}
    assert 50 < len(drawn[0]) < 110
    assert drawn[0] != drawn[1]
    assert drawn[0] == {name for name in reversed(ids) if is_audited(name, AnalysisSettings())}


def test_a_broken_clip_is_the_surveys_error(clips: Path) -> None:
    (clips / "broken").write_bytes(b"nothing to see" * 100)
    clip = _analyse(clips, "broken")
    assert (clip.status, clip.reason, clip.tier) == (Status.ERROR, Reason.DECODE_FAILED, "survey")


def test_the_same_clip_gives_the_same_rows_in_any_company(clips: Path) -> None:
    order = ["turning", "frontal", "empty"]
    forwards = {path: _analyse(clips, path) for path in order}
    module._engine.cache_clear()
    assert {path: _analyse(clips, path) for path in reversed(order)} == forwards
