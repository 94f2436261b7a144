"""The shard around the measures: every clip a row, faults stay where they arise, the speech model only where one is named, and
what is measured once is kept while its file is away."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.ingest.locate import ClipsAway
from lafid_assets.schemas import ID_CONSISTENT_CLIPS, RAW_CLIPS, SPEECH_INFO
from lafid_assets.speech import shard_speech
from lafid_assets.speech.measures import SpeechSettings
from lafid_assets.speech.shard_speech import SpeechTask, measure_shard
from lafid_assets.speech.speech_info import SpeechInfoConfig, _recipe, speech_info
from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.transcript_files import TranscriptFile
from lafid_assets.speech.voice import VoiceSettings
from lafid_assets.speech.whisper_models import WhisperChoice
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.workers.pool import Crashed, Done, Ending
from resources.lake.lake import Lake
from resources.settings import Settings

WHISPER = Path(__file__).resolve().parents[4] / "shared/testdata/weights/whisper/random-tiny-ct2"
SHARD = "shard-00000"
DLIB = SpeechInfoConfig(engine="dlib", whisper="none")
NONE_ASKED = _recipe(DLIB)
SAID = (TranscriptSegment(0.0, 1.0, "hi", "en", None, None),)


def _clips(paths: dict[str, bool], contents: dict[str, str] | None = None) -> pl.DataFrame:
    """Clips by the name of their file, and whether they were kept; the content hash is the name unless told otherwise."""
    rows = [
        {"clip_id": path, "shard": SHARD, "keep": keep, "reason": None if keep else "identity_change", "duration_s": 1.0}
        for path, keep in paths.items()
    ]
    return pl.DataFrame(rows, schema_overrides={"reason": pl.String}).with_columns(
        content_sha256=pl.Series([(contents or {}).get(path, path) for path in paths]),
        recording_id=pl.lit(None, pl.String),
        start_s=pl.lit(None, pl.Float64),
    )


@pytest.fixture
def reach(tmp_path: Path) -> Callable[[Collection[str]], dict[str, Path]]:
    """Files in one folder."""

    def found(clip_ids: Collection[str]) -> dict[str, Path]:
        paths = {clip_id: tmp_path / clip_id for clip_id in clip_ids}
        if away := [clip_id for clip_id, path in paths.items() if not path.exists()]:
            raise ClipsAway(f"away: {', '.join(away)}")
        return paths

    return found


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measures that cost nothing, by clips that behave as they are named; which were asked for."""
    asked: list[str] = []

    def without_children(
        work: object, tasks: Sequence[SpeechTask], *_: object, **__: object
    ) -> Iterator[tuple[int, Ending[dict[str, Any]]]]:
        for index, task in enumerate(tasks):
            asked.append(task.footage.name)
            if task.footage.name == "vanish":
                task.footage.unlink()
            if task.footage.name == "crash":
                yield index, Crashed(-9)
            elif task.footage.name in ("torn", "vanish"):
                yield index, Done({"status": "error", "reason": "audio_unreadable", "detail": "torn"})
            else:
                yield index, Done({"has_audio": False, "transcriber": None, "status": "ok", "reason": None, "detail": None})

    monkeypatch.setattr(shard_speech, "map_footage", without_children)
    return asked


def test_every_clip_has_its_row(tmp_path: Path, reach: Any, write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "silent.mp4")
    (tmp_path / "torn.mp4").write_bytes(b"no video")
    clips = _clips({"silent.mp4": True, "torn.mp4": True, "rejected.mp4": False})
    measured = measure_shard(clips, NONE_ASKED, reach)
    assert SPEECH_INFO.violations(measured) == []
    assert set(measured["engine"]) == {"dlib"}
    assert set(measured["engine_reason"]) == {"asked for"}
    measured = measured.select("clip_id", "status", "reason", "has_audio")
    assert {name: rest for name, *rest in measured.rows()} == {
        "silent.mp4": ["ok", None, False],
        "torn.mp4": ["error", "audio_unreadable", None],
        "rejected.mp4": ["skipped", "upstream", None],
    }


def test_folder_without_a_speech_model_is_refused_before_any_clip(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} is no CTranslate2 Whisper model"):
        _recipe(SpeechInfoConfig(engine="dlib", whisper_dir=str(tmp_path)))


@pytest.mark.skipif(not WHISPER.is_dir(), reason="../shared is absent: the random Whisper stands only beside the project")
def test_named_speech_model_is_used_and_recorded(tmp_path: Path, reach: Any, write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "sound.mp4", sound_s=1.0)
    recipe = _recipe(SpeechInfoConfig(engine="dlib", whisper_dir=str(WHISPER), whisper_language="en"))
    (row,) = measure_shard(_clips({"sound.mp4": True}), recipe, reach).to_dicts()
    assert (row["status"], row["transcriber"], row["segments"]) == ("ok", "random-tiny-ct2", [])
    assert (row["transcriber_reason"], row["transcriber_licence"]) == ("whisper_dir names the model", "unstated")
    assert len(recipe.whisper.sha256 or "") == 64


def test_a_transcript_made_elsewhere_goes_before_the_model(tmp_path: Path, reach: Any, write_video: Callable[..., Path]) -> None:
    for name in ("held.mp4", "other.mp4"):
        write_video(tmp_path / name, sound_s=1.0)
    segment = TranscriptSegment(0.0, 1.0, "hello", "en", None, None)
    given = TranscriptFile("speech.csv", "0" * 64, {"held.mp4": (segment,), "elsewhere.mp4": (segment,)})
    measured = measure_shard(_clips({"held.mp4": True, "other.mp4": True}), replace(NONE_ASKED, transcripts=given), reach)
    held, other = measured.sort("clip_id").to_dicts()
    assert (held["transcriber"], held["transcriber_reason"]) == ("file: speech.csv", "the file holds it")
    assert held["transcriber_licence"] is None
    assert [one["text"] for one in held["segments"]] == ["hello"]
    assert (other["transcriber"], other["segments"]) == (None, None)
    assert other["transcriber_reason"] == "no transcript was asked for"


def test_what_is_measured_is_never_measured_again(tmp_path: Path, reach: Any, played: list[str]) -> None:
    for name in ("a", "b", "crash", "torn"):
        (tmp_path / name).touch()
    first = measure_shard(_clips({"a": True, "b": False, "crash": True, "torn": True}), NONE_ASKED, reach)
    assert played == ["a", "crash", "torn"]
    played.clear()
    for name in ("a", "torn"):  # their files may be away
        (tmp_path / name).unlink()
    second = measure_shard(_clips({"a": True, "b": True, "crash": True, "torn": True}), NONE_ASKED, reach, first)
    assert played == ["b", "crash"]
    unchanged = pl.col("clip_id").is_in(["a", "torn"])
    assert second.filter(unchanged).equals(first.filter(unchanged))


@pytest.mark.parametrize(
    ("changed", "redone"),
    [
        ({}, []),
        ({"language": "de"}, ["b"]),
        ({"whisper": WhisperChoice(None, "f" * 64, "another model")}, ["b"]),
        ({"settings": SpeechSettings(voice=VoiceSettings(threshold=0.7))}, ["a", "b"]),
        (
            {
                "transcripts": TranscriptFile(
                    "speech.csv", "1" * 64, {"a": (TranscriptSegment(0.0, 1.0, "hi", "en", None, None),)}
                )
            },
            [],
        ),
        ({"transcripts": TranscriptFile("speech.csv", "1" * 64, {})}, ["a"]),
    ],
)
def test_a_clip_is_measured_again_when_what_it_was_measured_from_changes(
    changed: dict[str, Any], redone: list[str], tmp_path: Path, reach: Any, played: list[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    recipe = replace(NONE_ASKED, transcripts=TranscriptFile("speech.csv", "0" * 64, {"a": SAID}))
    first = measure_shard(_clips({"a": True, "b": True}), recipe, reach)
    played.clear()
    measure_shard(_clips({"a": True, "b": True}), replace(recipe, **changed), reach, first)
    assert played == redone


def test_a_shard_that_keeps_no_clip_any_more_has_its_rows(tmp_path: Path, reach: Any, played: list[str]) -> None:
    (tmp_path / "a").touch()
    first = measure_shard(_clips({"a": True}), NONE_ASKED, reach)
    second = measure_shard(_clips({"a": False}), NONE_ASKED, reach, first)
    assert (second["status"].to_list(), played) == (["skipped"], ["a"])


def test_another_content_is_measured_again(tmp_path: Path, reach: Any, played: list[str]) -> None:
    (tmp_path / "a").touch()
    first = measure_shard(_clips({"a": True}), NONE_ASKED, reach)
    measure_shard(_clips({"a": True}, {"a": "other"}), NONE_ASKED, reach, first)
    assert played == ["a", "a"]


def test_nothing_is_opened_while_a_file_is_away_that_is_needed(tmp_path: Path, reach: Any, played: list[str]) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(ClipsAway, match="away: b"):
        measure_shard(_clips({"a": True, "b": True}), NONE_ASKED, reach)
    assert played == []
    (tmp_path / "vanish").touch()
    with pytest.raises(ClipsAway, match="away: vanish"):  # while the shard is being measured
        measure_shard(_clips({"a": True, "vanish": True}), NONE_ASKED, reach)


def test_the_asset_keeps_its_rows_and_names_the_folder_that_is_away(
    tmp_path: Path, lake: Lake, row_of: Callable[..., dict[str, Any]], lay_clips: Callable[..., None], played: list[str]
) -> None:
    def run(**config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [speech_info],
            instance=instance,
            partition_key=SHARD,
            resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake},
            run_config={"ops": {"speech_info": {"config": DLIB.model_dump(include={"engine", "whisper"}) | config}}},
            raise_on_error=False,
        )

    (tmp_path / "a").touch()
    placed = {"path": "a", "clip_root": str(tmp_path), "content_sha256": "a", "duration_s": 1.0}
    lay_clips(lake, RAW_CLIPS.frame([row_of(RAW_CLIPS, clip_id="a", shard=SHARD, **placed)]), SHARD)
    judged = row_of(ID_CONSISTENT_CLIPS, clip_id="a", shard=SHARD, keep=True)
    lake.put({"id_consistent_clips": ID_CONSISTENT_CLIPS.frame([judged])}, SHARD)
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(CLIP_SHARDS.name, [SHARD])
    assert run().success
    before = lake.read("speech_info", SHARD)
    (tmp_path / "a").unlink()
    lake.put({"id_consistent_clips": ID_CONSISTENT_CLIPS.frame([judged | {"similarity_mean": 0.5}])}, SHARD)
    result = run()  # decided anew, and nothing is left to measure
    assert result.success
    assert played == ["a"]
    result = run(voice={"threshold": 0.7})
    [failure] = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    assert f"they were in {tmp_path}: mount it" in str(failure.cause)
    assert lake.read("speech_info", SHARD).equals(before)
