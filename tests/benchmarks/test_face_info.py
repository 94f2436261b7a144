"""The face benchmark runs to its end: the script's children and ours, on three clips of a second."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import face_info
from benchmarks.face_mix import MixClip, build_mix

CLIPS = [
    MixClip("kept_0", "kept", ("intel_gaze_demo.mp4",), 0.0, 1.0),
    MixClip("frontal_0", "frontal", ("liveportrait_src_s18.mp4",), 0.0, 1.0),
    MixClip("empty_0", "empty", ("intel_bottle-detection.mp4",), 0.0, 1.0),
]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, testdata: Path) -> face_info.Bench:
    """Models and clips, made anew."""
    monkeypatch.setattr(face_info, "TESTDATA", testdata)
    face_info.build_models(tmp_path)
    return face_info.Bench(tmp_path, CLIPS, build_mix(tmp_path / "mix", testdata / "clips", CLIPS))


def test_what_the_policy_keeps_is_told_from_our_rows(bench: face_info.Bench) -> None:
    command = [sys.executable, "-m", "benchmarks.face_ours", "analyse"]
    bench.run(face_info.SCAN_ON, command, {"settings": face_info.OURS | {"head_pose": "fsanet", "scan": True}}, one_thread=True)
    on = bench.measured[face_info.SCAN_ON].found
    assert on["empty_0"]["verdict"] == "no_face"
    assert {clip["status"] for clip in on.values()} <= {"ok", "rejected"}
    assert face_info._kept(bench, on) == (set(), set(), 0), "nobody turns within a second"


@pytest.mark.long
def test_the_script_and_ours_see_the_same_faces(
    bench: face_info.Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bars are of the whole mix on a quiet machine, and not asked for here."""
    monkeypatch.setattr(face_info, "plan_mix", lambda: CLIPS)
    monkeypatch.setattr(sys, "argv", ["face_info", "--rounds", "1", "--cache", str(bench.cache), "--json"])
    face_info.main()
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["clips"], summary["rounds"]) == (3, 1)
    assert summary["same_rows"]
    assert summary["same_kept"]
    assert summary["faces_compared"] == 4, "two frames a second of two clips"
    assert not {*face_info.MOST} & {*face_info.missed_bars(summary)}
    assert all(summary[name] > 0 for name in face_info.BARS)


def test_without_the_test_clips_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(face_info, "TESTDATA", tmp_path / "away")
    monkeypatch.setattr(sys, "argv", ["face_info", "--cache", str(tmp_path / "cache")])
    assert face_info.main() == 2
    assert "../shared/testdata" in capsys.readouterr().err
