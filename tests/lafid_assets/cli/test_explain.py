"""`lafid explain`."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.dataset.contact_sheet import draw_strip
from lafid_assets.faces.settings import ScanMargins
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.ingest.packets import read_index
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import (
    CLIP_CONTENTS,
    DUPLICATE_CLIPS,
    FACE_CLIPS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    LAFID_DATASET,
    MARKS,
    PIECES,
    POSE_FILTERED_CLIPS,
    RAW_CLIPS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.speech.speaking_status import SpeechPolicy
from lafid_assets.speech.tagging import settings_json
from lafid_assets.speech.transcript_gates import TranscriptGates
from resources.lake.lake import Lake

RowOf = Callable[..., dict[str, Any]]
CLIP = "ab" * 16
FACE_POLICY, _FACE = settings_row(FacePolicy().model_dump_json())
ONE_PERSON, _ONE = settings_row(ConsistencyPolicy().model_dump_json(exclude={"pose_gap"}))
WHO_SPEAKS, _WHO = settings_row(settings_json(SpeechPolicy(min_sync_z=2.5), TranscriptGates()))
MARGINS, _SCAN = settings_row(ScanMargins(scan_min_pose_variation_deg=17).model_dump_json())
SETTINGS = pl.concat([_FACE, _ONE, _WHO, _SCAN])


@pytest.fixture
def tables(row_of: RowOf, write_video: Callable[..., Path], tmp_path: Path) -> dict[str, pl.DataFrame]:
    """One clip of ten frames, rejected for its poses; another one whose id begins with the same letter."""
    write_video(tmp_path / "clips" / "part" / "a.mp4")
    place = {"clip_root": str(tmp_path / "clips"), "path": "part/a.mp4"}
    low = {"status": "rejected", "reason": "pose_variation_low", "reasons": ["pose_variation_low"], "keep": False}
    measures = {"face_frame_share": 1.0, "pose_variation_deg": 44.0, "policy_sha256": FACE_POLICY}
    faces = [row_of(FACE_INFO, clip_id=CLIP, frame_index=n, face_index=0, yaw_deg=n, pitch_deg=0, roll_deg=0) for n in range(10)]
    return {
        "raw_clips": RAW_CLIPS.frame(
            [
                row_of(RAW_CLIPS, clip_id=CLIP, content_sha256=CLIP, caption="a person", **place),
                row_of(RAW_CLIPS, clip_id="a0" * 16),
            ]
        ),
        "face_clips": FACE_CLIPS.frame([row_of(FACE_CLIPS, clip_id=CLIP)]),
        "face_info": FACE_INFO.frame(faces),
        "face_frames": FACE_FRAMES.frame(
            row_of(FACE_FRAMES, clip_id=CLIP, frame_index=n, time_s=n / 10, face_count=1) for n in range(10)
        ),
        "pose_filtered_clips": POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, clip_id=CLIP, **measures, **low)]),
        "policy_settings": SETTINGS,
    }


def test_rules_with_thresholds_and_the_frames_that_decided(lafid: Any, publish: Any, tables: Any, home: Path) -> None:
    publish(tables)
    ended = lafid("explain", "aba", "--out", home / "strip.png")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(
        f"{CLIP}: rejected by pose_filtered_clips: pose_variation_low (pose_variation_deg 44, at least 45"
    )
    line = next(line for line in ended.out.splitlines() if "pose_variation_deg" in line and "missed" in line)
    assert all(word in line for word in ("pose_variation_low", "44", "at least 45"))
    assert "a person" in ended.out
    for name in ("a.mp4", "part/a.mp4", str(home.parent / "clips" / "part" / "a.mp4")):
        named = lafid("explain", name)
        assert (named.err, named.out.partition("\n")[0]) == ("", ended.out.partition("\n")[0]), "a file's name will do"
    assert "there is no clip 'b.mp4'" in lafid("explain", "b.mp4").error
    strip = Image.open(io.BytesIO((home / "strip.png").read_bytes()))
    assert strip.width > strip.height, "two frames side by side: the least and the most turned one"


def test_any_of_the_files_with_the_same_content_names_the_clip(
    lafid: Any, publish: Any, tables: Any, row_of: RowOf, lake: Lake
) -> None:
    """A copy of other name lies in the same folder and one in another folder; a third file holds something else."""
    publish(tables)
    contents = lake.read(CLIP_CONTENTS.name)
    of_clip = contents.row(by_predicate=pl.col("clip_id") == CLIP, named=True)
    copies = [of_clip | {"path": "part/copy.mp4"}, of_clip | {"clip_root": "/elsewhere", "path": "b.mp4"}]
    other = of_clip | {"clip_root": "/elsewhere", "path": "a.mp4", "clip_id": "a0" * 16}
    lake.put({CLIP_CONTENTS.name: pl.concat([contents, CLIP_CONTENTS.frame([*copies, other])])}, "x")
    for name in ("part/a.mp4", "copy.mp4", "part/copy.mp4", "b.mp4", "/elsewhere/b.mp4"):
        ended = lafid("explain", name)
        assert (ended.err, ended.out[: len(CLIP)]) == ("", CLIP), name
    error = lafid("explain", "a.mp4").error
    assert "2 clips have a file 'a.mp4'" in error
    assert "FROM clip_contents" in error, "where both are listed by that name"


def test_captions_are_shown_whole_and_to_the_letter(lafid: Any, publish: Any, tables: Any, row_of: RowOf) -> None:
    caption = "[applause] " + "She turns and turns. " * 20 + "[/b] The end."
    raw = [row_of(RAW_CLIPS, clip_id=CLIP, caption=caption)]
    publish(tables | {"raw_clips": RAW_CLIPS.frame(raw)})
    words = " ".join(lafid("explain", CLIP).out.replace("│", " ").split())
    assert caption in words


def test_marks_are_shown_and_those_on_another_decision_are_known(lafid: Any, publish: Any, tables: Any, row_of: RowOf) -> None:
    seen = {"clip_id": CLIP, "content_sha256": CLIP, "step": "pose_filtered_clips", "status": "rejected"}
    seen |= {"marked_at": "2026-01-02T03:04:05.000006+00:00", "verdict": "wrong"}
    marks = [
        row_of(MARKS, **seen, mark_id="1", reason="pose_variation_low", marker="ada", note="[b]turns[/b] enough"),
        row_of(MARKS, **seen, mark_id="2", reason="no_face", marker="bob"),
        row_of(MARKS, **(seen | {"clip_id": "a0" * 16}), mark_id="3", reason="no_face", marker="eve"),
    ]
    publish(tables | {"marks": MARKS.frame(marks)})
    out = lafid("explain", CLIP).out
    assert "marked wrong as rejected (pose_variation_low) by ada, 2026-01-02T03:04:05; [b]turns[/b] enough\n" in out
    assert "marked wrong as rejected (no_face) by bob, 2026-01-02T03:04:05; outdated: now rejected (pose_variation_low)\n" in out
    assert "by eve" not in out


def _kept(tables: dict[str, pl.DataFrame], row_of: RowOf) -> dict[str, pl.DataFrame]:
    """The clip as every step passed it on."""
    settings = {"policy_sha256": FACE_POLICY}
    one = {"embedded_frames": 10, "outlier_share": 0.1, "policy_sha256": ONE_PERSON}
    heard = {"has_audio": True, "voice_spans": [{"start_s": 0.0, "end_s": 2.0}], "mouth_range": 0.05}
    heard |= {"mouth_model": "dlib", "lip_audio_z": 3.5}
    spoken = {"speaking_status": "on_screen", "speaking_reason": "lips_follow_voice"}
    spoken["policy_sha256"] = WHO_SPEAKS
    return tables | {
        "face_clips": FACE_CLIPS.frame([row_of(FACE_CLIPS, clip_id=CLIP, engine="dlib")]),
        "pose_filtered_clips": POSE_FILTERED_CLIPS.frame([row_of(POSE_FILTERED_CLIPS, clip_id=CLIP, **settings)]),
        "id_consistent_clips": ID_CONSISTENT_CLIPS.frame([row_of(ID_CONSISTENT_CLIPS, clip_id=CLIP, **one)]),
        "speech_info": SPEECH_INFO.frame([row_of(SPEECH_INFO, clip_id=CLIP, **heard)]),
        "speech_tagged_clips": SPEECH_TAGGED_CLIPS.frame([row_of(SPEECH_TAGGED_CLIPS, clip_id=CLIP, **spoken)]),
        "lafid_dataset": LAFID_DATASET.frame([row_of(LAFID_DATASET, clip_id=CLIP, identity_id="person-a", split="test")]),
    }


def test_kept_clip_is_explained_to_the_end(lafid: Any, publish: Any, tables: Any, row_of: RowOf) -> None:
    publish(_kept(tables, row_of))
    out = lafid("explain", CLIP).out
    assert out.startswith(f"{CLIP}: kept as person-a, test\n")
    words = " ".join(out.split())
    assert "identity_change outlier_share 0.1 at most 0.15 met" in words
    assert "on_screen, because lips_follow_voice" in words
    assert "lips follow voice lip_audio_z 3.5 at least 2.5 yes" in words, "of the policy that decided, not of the default"


def test_change_of_person_shows_both_sides_and_nothing_after_it(
    lafid: Any, publish: Any, tables: Any, row_of: RowOf, home: Path
) -> None:
    changed = {"status": "rejected", "reason": "identity_change", "keep": False, "identity_break_frame": 9}
    changed |= {"embedded_frames": 10, "outlier_share": 0.5, "policy_sha256": ONE_PERSON}
    identity = ID_CONSISTENT_CLIPS.frame([row_of(ID_CONSISTENT_CLIPS, clip_id=CLIP, **changed)])
    publish(_kept(tables, row_of) | {"id_consistent_clips": identity})
    out = lafid("explain", CLIP, "--out", home / "strip.png").out
    assert "rejected by id_consistent_clips: identity_change (outlier_share 0.5, at most 0.15 asked for)" in out
    assert "the steps after this one did not see the clip" in out
    assert "speech_info" not in out
    strip = Image.open(home / "strip.png")
    one_frame_px = Image.open(io.BytesIO(draw_strip([(np.zeros((48, 64, 3), np.uint8), "")]))).width
    assert strip.width == 5 * one_frame_px, "four frames before, one from the change on"


def test_clip_that_the_scan_dropped_is_explained_by_its_margins(lafid: Any, publish: Any, tables: Any, row_of: RowOf) -> None:
    dropped = {"status": "rejected", "reason": "static", "detail": "after 6 looks", "scan_verdict": "static"}
    scanned = row_of(FACE_CLIPS, clip_id=CLIP, tier="scan", scan_margins_sha256=MARGINS, **dropped)
    publish({name: tables[name] for name in ("raw_clips", "policy_settings")} | {"face_clips": FACE_CLIPS.frame([scanned])})
    out = lafid("explain", CLIP).out
    assert out.startswith(f"{CLIP}: rejected by face_clips: static (after 6 looks)")
    assert "scan_min_pose_variation_deg 17.0" in out


def test_clip_whose_file_is_gone_is_explained_without_pictures(lafid: Any, publish: Any, tables: Any, tmp_path: Path) -> None:
    publish(tables)
    (tmp_path / "clips" / "part" / "a.mp4").unlink()
    ended = lafid("explain", CLIP, "--out", tmp_path / "unused.png")
    assert ended.code == 0
    assert "no pictures: the file is gone" in ended.out


def test_clip_that_was_not_judged_is_explained_so_far(lafid: Any, publish: Any, tables: Any) -> None:
    publish({name: tables[name] for name in ("raw_clips", "face_clips")})
    ended = lafid("explain", CLIP, "--out", "unused.png")
    assert ended.code == 0
    assert "no pictures: no frame was analysed" in ended.out


def test_a_file_with_cuts_lists_its_shots_and_a_shot_is_explained_as_a_clip(
    lafid: Any, publish: Any, tables: Any, row_of: RowOf, home: Path
) -> None:
    """Two shots of the file's ten frames; the second one was rejected, and its frames are counted from its own first one."""
    shots = [f"{number}c" * 16 for number in range(2)]
    of_file = {"recording_id": CLIP, "content_sha256": CLIP, "keyframe_pts": 0, "shots_in_file": 2, "duration_s": 0.5}
    pts = read_index(home.parent / "clips" / "part" / "a.mp4").pts
    pieces = [
        row_of(PIECES, clip_id=clip, piece_index=n, first_pts=pts[5 * n], last_pts=pts[5 * n + 4], start_s=n / 2, **of_file)
        for n, clip in enumerate(shots)
    ]
    split = row_of(FACE_CLIPS, clip_id=CLIP, status="skipped", reason="split", detail="the file has cuts")
    seen = [row_of(FACE_CLIPS, clip_id=clip) for clip in shots]
    low = row_of(POSE_FILTERED_CLIPS, clip_id=shots[1], status="rejected", reason="no_face", reasons=["no_face"])
    judged = [row_of(POSE_FILTERED_CLIPS, clip_id=clip) for clip in shots[:1]] + [low | {"policy_sha256": FACE_POLICY}]
    frames = [row_of(FACE_FRAMES, clip_id=shots[1], frame_index=n, time_s=n / 10, face_count=0) for n in (0, 4)]
    publish(
        {"raw_clips": tables["raw_clips"], "policy_settings": SETTINGS, "pieces": PIECES.frame(pieces)}
        | {"face_clips": FACE_CLIPS.frame([split, *seen]), "face_frames": FACE_FRAMES.frame(frames)}
        | {"pose_filtered_clips": POSE_FILTERED_CLIPS.frame(row | {"policy_sha256": FACE_POLICY} for row in judged)}
        | {"duplicate_clips": DUPLICATE_CLIPS.frame([row_of(DUPLICATE_CLIPS, clip_id=shots[0])])}
    )
    listed = lafid("explain", "a.mp4").out
    assert listed.startswith(f"{CLIP}: skipped by face_clips: split (the file has cuts)")
    lines = [line.replace("│", " ").split() for line in listed.splitlines() if any(clip in line for clip in shots)]
    assert lines == [["0", "0.00", "0.50", shots[0], "kept"], ["1", "0.50", "0.50", shots[1], "rejected:", "no_face"]]
    told = lafid("explain", shots[1], "--out", home / "strip.png").out
    assert told.startswith(f"{shots[1]}: rejected by pose_filtered_clips: no_face")
    strip = np.asarray(Image.open(home / "strip.png").convert("L"))
    assert [strip[100, 100], strip[100, -100]] == pytest.approx([8 * 5, 8 * 9], abs=4), "frames 5 and 9 of the file"


@pytest.mark.parametrize(("clip", "message"), [("zz", "there is no clip 'zz'"), ("a", "2 clips begin with 'a'")])
def test_unclear_id_is_one_line(lafid: Any, publish: Any, tables: Any, clip: str, message: str) -> None:
    publish(tables)
    assert message in lafid("explain", clip).error
