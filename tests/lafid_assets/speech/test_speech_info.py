"""The shard around the measures: every clip a row, faults stay where they arise, the speech model only where one is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lafid_assets.schemas import ID_CONSISTENT_CLIPS
from lafid_assets.speech.speech_info import SpeechInfoConfig, _choose_whisper, measure_shard
from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.transcript_files import TranscriptFile
from lafid_assets.speech.whisper_models import WhisperChoice

WHISPER = Path(__file__).resolve().parents[4] / "shared/testdata/weights/whisper/random-tiny-ct2"
OUTCOMES: dict[bool, dict[str, Any]] = {
    True: {"status": "ok", "reason": None},
    False: {"status": "rejected", "reason": "identity_change"},
}


NO_WHISPER = WhisperChoice(None, None, "no transcript was asked for")
DLIB = SpeechInfoConfig(engine="dlib")


def _clips(row_of: Callable[..., dict[str, Any]], root: Path, paths: dict[str, bool]) -> pl.DataFrame:
    rows = [row_of(ID_CONSISTENT_CLIPS, clip_id=path, keep=keep, **OUTCOMES[keep]) for path, keep in paths.items()]
    placed = pl.DataFrame({"clip_id": list(paths), "path": list(paths)}).with_columns(clip_root=pl.lit(str(root)), duration_s=1.0)
    return ID_CONSISTENT_CLIPS.frame(rows).join(placed, on="clip_id")


def test_every_clip_has_its_row(tmp_path: Path, row_of: Callable[..., dict[str, Any]], write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "silent.mp4")
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    clips = _clips(row_of, tmp_path, {"silent.mp4": True, "torn.mp4": True, "lost.mp4": True, "rejected.mp4": False})
    measured = measure_shard(clips, DLIB, NO_WHISPER, None)
    assert set(measured["engine"]) == {"dlib"}
    assert set(measured["engine_reason"]) == {"asked for"}
    measured = measured.select("clip_id", "status", "reason", "has_audio")
    assert {name: rest for name, *rest in measured.rows()} == {
        "silent.mp4": ["ok", None, False],
        "torn.mp4": ["error", "audio_unreadable", None],
        "lost.mp4": ["error", "unreadable", None],
        "rejected.mp4": ["skipped", "upstream", None],
    }


def test_folder_without_a_speech_model_is_refused_before_any_clip(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is no CTranslate2 Whisper model"):
        _choose_whisper(SpeechInfoConfig(whisper_dir=str(tmp_path)))


@pytest.mark.skipif(not WHISPER.is_dir(), reason="../shared is absent: the random Whisper stands only beside the project")
def test_named_speech_model_is_used_and_recorded(
    tmp_path: Path, row_of: Callable[..., dict[str, Any]], write_video: Callable[..., Path]
) -> None:
    write_video(tmp_path / "sound.mp4", sound_s=1.0)
    config = SpeechInfoConfig(engine="dlib", whisper_dir=str(WHISPER), whisper_language="en")
    whisper = _choose_whisper(config)
    (row,) = measure_shard(_clips(row_of, tmp_path, {"sound.mp4": True}), config, whisper, None).to_dicts()
    assert (row["status"], row["transcriber"], row["segments"]) == ("ok", "random-tiny-ct2", [])
    assert (row["transcriber_reason"], row["transcriber_licence"]) == ("whisper_dir names the model", "unstated")
    assert len(whisper.sha256 or "") == 64


def test_a_transcript_made_elsewhere_goes_before_the_model(
    tmp_path: Path, row_of: Callable[..., dict[str, Any]], write_video: Callable[..., Path]
) -> None:
    for name in ("held.mp4", "other.mp4"):
        write_video(tmp_path / name, sound_s=1.0)
    segment = TranscriptSegment(0.0, 1.0, "hello", "en", None, None)
    given = TranscriptFile("speech.csv", "0" * 64, {"held.mp4": (segment,), "elsewhere.mp4": (segment,)})
    measured = measure_shard(_clips(row_of, tmp_path, {"held.mp4": True, "other.mp4": True}), DLIB, NO_WHISPER, given)
    held, other = measured.sort("clip_id").to_dicts()
    assert (held["transcriber"], held["transcriber_reason"]) == ("file: speech.csv", "the file holds it")
    assert held["transcriber_licence"] is None
    assert [one["text"] for one in held["segments"]] == ["hello"]
    assert (other["transcriber"], other["segments"]) == (None, None)
    assert other["transcriber_reason"] == "no transcript was asked for"
