"""`lafid curate` through Dagster, on files that need no engine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from resources.shard_store import ShardStore

from lafid_assets.cli.materialize import CurationChoices, Materializer, RunFailed, open_materializer
from lafid_assets.ingest import raw_clips as module
from lafid_assets.schemas import SPEECH_TAGGED_CLIPS
from lafid_assets.speech.chat_endpoint import endpoint_of
from lafid_assets.speech.speech_tagged_clips import SpeechTaggedClipsConfig
from resources.settings import Settings


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_bytes(b"no video" * 100)
    return folder


@pytest.fixture
def materializer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Materializer]:
    """Opens one after the other on the same installation; Dagster's records are kept in memory, which is quicker."""
    instance = dg.DagsterInstance.ephemeral()
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: instance)
    settings = Settings(home=home, store_uri=str(home / "store"))
    return lambda: open_materializer(settings)


def test_folder_of_bad_files_ends_with_a_funnel_and_a_report(lafid: Any, home: Path, bad_files: Path) -> None:
    ended = lafid("curate", bad_files)
    assert ended.code == 0, ended.err
    assert "curating shard-00000 (1 of 1)" in ended.out
    assert f"report: {home}/store/reports/empty/report.html" in ended.out
    assert (home / "store" / "reports" / "empty" / "report.html").is_file()
    funnel = json.loads(lafid("funnel", "--json").out)
    assert (funnel["in"], funnel["kept"], funnel["error"]) == (2, 0, {"empty_file": 1, "unreadable": 1})


def test_list_restricts_what_is_taken_in(lafid: Any, home: Path, bad_files: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\ntext\nnowhere\n")
    ended = lafid("curate", bad_files, "--only", tmp_path / "list.csv")
    assert ended.code == 0, ended.err
    assert "list.csv: 1 clips are here, 1 are missing" in ended.out
    assert "missing: nowhere (all of them:" in ended.out
    assert (home / "missing_clips.csv").read_text() == "missing\nnowhere\n"
    funnel = json.loads(lafid("funnel", "--json").out)
    assert (funnel["in"], funnel["error"]) == (1, {"unreadable": 1})


def test_failing_shard_stops_no_other_and_is_named_with_its_cause(
    materializer: Callable[[], Materializer], bad_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = materializer()
    shards = first.ingest(bad_files, 1)
    assert shards == ["shard-00000", "shard-00001"]
    probe = module.probe_clips

    def fail_in_the_first(manifest: Any) -> Any:
        if manifest["shard"][0] == shards[0]:
            raise RuntimeError("the disk caught fire")
        return probe(manifest)

    monkeypatch.setattr(module, "probe_clips", fail_in_the_first)
    with pytest.raises(RunFailed, match=r"raw_clips \(shard-00000\) failed: .*the disk caught fire.*`lafid ui` shows its log"):
        first.curate(shards, CurationChoices())
    assert ShardStore(first.settings.store_uri).partitions("speech_tagged_clips") == shards[1:]
    assert f"raw_clips {shards[1]}" in first.tally.computed

    monkeypatch.setattr(module, "probe_clips", probe)
    again = materializer()
    again.curate(shards, CurationChoices())
    assert f"raw_clips {shards[0]}" in again.tally.computed
    assert f"raw_clips {shards[1]}" in again.tally.up_to_date


def test_broken_check_is_named(
    materializer: Callable[[], Materializer], bad_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = module.probe_clips
    monkeypatch.setattr(module, "probe_clips", lambda manifest: probe(manifest).head(1))
    opened = materializer()
    shards = opened.ingest(bad_files, 500)
    with pytest.raises(RunFailed, match=r"raw_clips \(shard-00000\) broke its check counts_add_up: 1 clips lost"):
        opened.curate(shards, CurationChoices())


def test_policy_from_a_file_reaches_the_decision(lafid: Any, bad_files: Path, tmp_path: Path) -> None:
    own = tmp_path / "strict.toml"
    own.write_text("pose_variation_min_deg = 90\nsharpness_min = 5\n")
    assert lafid("curate", bad_files, "--policy", own).code == 0
    sql = "SELECT DISTINCT policy, json_extract(policy_settings, '$.pose_variation_min_deg') AS deg FROM pose_filtered_clips"
    assert json.loads(lafid("query", sql, "--json").out) == [{"policy": "strict", "deg": "90.0"}]


def test_unknown_policy_is_one_line_before_anything_is_done(lafid: Any, home: Path, bad_files: Path) -> None:
    assert "no policy 'coffee': choose cofe" in lafid("curate", bad_files, "--policy", "coffee").error
    assert not (home / "store").exists()


def test_transcripts_and_endpoints_reach_the_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    endpoint = endpoint_of("http://127.0.0.1:9/v1,a-model")
    ops = CurationChoices(transcripts=Path("said.csv"), caption_llm=endpoint).ops
    assert ops["speech_info"]["config"]["transcripts"] == str(tmp_path / "said.csv"), "wherever the run's process stands"
    assert ops["speech_tagged_clips"]["config"] == {"caption_llm": endpoint.model_dump()}
    frames = CurationChoices(caption_frames=endpoint).ops["speech_tagged_clips"]["config"]
    assert SpeechTaggedClipsConfig(**frames).caption_frames_model.model == "a-model"
    assert "transcripts" not in CurationChoices().ops["speech_info"]["config"]


def test_endpoint_that_is_none_is_refused_before_anything_is_done(lafid: Any, home: Path, bad_files: Path) -> None:
    message = "'a-model' names no endpoint: give URL,MODEL"
    assert message in lafid("curate", bad_files, "--caption-llm", "a-model").error
    assert message in lafid("curate", bad_files, "--caption-frames", "a-model").error
    assert not (home / "store").exists()


def test_transcripts_that_cannot_be_read_are_named(lafid: Any, bad_files: Path) -> None:
    assert "no such .csv or .json file" in lafid("curate", bad_files, "--transcripts", "nowhere.csv").error


def test_bill_of_an_endpoint_is_shown(lafid: Any, bad_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    out = lafid("curate", bad_files, "--caption-llm", "http://127.0.0.1:9/v1,a-model").out
    assert "caption_llm_answers 0" in out
    assert "caption_llm_cost no price is configured" in out


def test_captions_of_a_model_are_not_rewritten_by_rules_without_a_word(
    lafid: Any, home: Path, bad_files: Path, row_of: Callable[..., dict[str, Any]]
) -> None:
    tagged = SPEECH_TAGGED_CLIPS.frame([row_of(SPEECH_TAGGED_CLIPS, clip_id="a", shard="shard-00000", rewriter="llm: a-model")])
    ShardStore(str(home / "store")).write_group({SPEECH_TAGGED_CLIPS.name: tagged}, "shard-00000", "f")
    out = lafid("curate", bad_files).out
    assert "note: 1 captions were written by llm: a-model and no language model is named now" in out
    assert out.index("note: 1 captions") < out.index("done curating")
    assert "note:" not in lafid("curate", bad_files).out


def test_error_budget_fails_a_shard_loudly_after_writing_it(lafid: Any, bad_files: Path) -> None:
    for number in range(3):
        (bad_files / f"more{number}.mp4").write_bytes(b"no video" * (101 + number))
    assert "error budget of 5.0%" in lafid("curate", bad_files).error
    assert json.loads(lafid("funnel", "--json").out)["error"] == {"empty_file": 1, "unreadable": 4}
    assert lafid("curate", bad_files, "--error-budget", "1").code == 0
