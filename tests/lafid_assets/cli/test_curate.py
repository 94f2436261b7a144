"""`lafid curate` through Dagster, on files that need no engine."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lafid_assets.captions.chat_endpoint import endpoint_of
from lafid_assets.cli import materialize
from lafid_assets.cli.materialize import CurationChoices, Materializer, RunFailed, open_materializer
from lafid_assets.ingest import raw_clips as module
from lafid_assets.ingest.clip_binding import Row
from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.registration import register
from lafid_assets.lake import open_lake
from lafid_assets.schemas import SPEECH_TAGGED_CLIPS
from lafid_assets.speech.speech_tagged_clips import SpeechTaggedClipsConfig
from lafid_assets.steps.partitions import CLIP_SHARDS
from lafid_assets.steps.step_run import Finding
from resources.settings import Settings


@pytest.fixture
def no_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A curation ends with its clips, for tests that look at nothing of what is put together from them."""
    monkeypatch.setattr(Materializer, "refresh", lambda *_: None)


@pytest.fixture(autouse=True)
def instance(monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """The home's Dagster; its records are kept in memory, which is quicker."""
    kept = dg.DagsterInstance.ephemeral()
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: kept)
    return kept


@pytest.fixture
def materializer(settings: Settings, instance: dg.DagsterInstance) -> Callable[[], Materializer]:
    """Opens one after the other on the same installation."""
    return lambda: open_materializer(settings)


def _shards(opened: Materializer, folder: Path, clips_per_shard: int = 500) -> list[str]:
    return list(register(opened.lake, list_files(folder), clips_per_shard).shards)


def _break_probing(monkeypatch: pytest.MonkeyPatch, shard: str) -> None:
    probe = module.probe_files

    def fail(files: Sequence[Row], *rest: Any) -> Any:
        if files[0]["shard"] == shard:
            raise RuntimeError("the disk caught fire")
        return probe(files, *rest)

    monkeypatch.setattr(module, "probe_files", fail)


def test_folder_of_bad_files_ends_with_a_funnel_and_a_report(lafid: Any, curated: tuple[Path, str], curated_home: Path) -> None:
    made_in, said = curated
    assert re.search(r"curating shard-00000-[0-9a-f]{8} to shard-00001-[0-9a-f]{8} \(2 of 2\)", said)
    assert f"report: {made_in}/store/reports/empty/report.html" in said
    assert (curated_home / "store" / "reports" / "empty" / "report.html").is_file()
    funnel = json.loads(lafid("funnel", "--json").out)
    assert (funnel["in"], funnel["kept"], funnel["error"]) == (2, 0, {"empty_file": 1, "unreadable": 1})


def test_what_is_current_starts_no_run_and_writes_nothing(
    lafid: Any, settings: Settings, bad_files: Path, curated_home: Path, instance: dg.DagsterInstance
) -> None:
    lake = open_lake(settings, read_only=True)

    def state() -> tuple[int, float]:
        with lake.snapshot() as reader:
            return reader.snapshot(), settings.published_path.stat().st_mtime

    before = state()
    again = lafid("curate", bad_files, "--clips-per-shard", 1)
    assert again.code == 0, again.err
    assert "2 shards are current; nothing to do" in again.out
    assert "curating" not in again.out
    assert (state(), instance.get_runs_count()) == (before, 0)
    known = instance.get_dynamic_partitions(str(CLIP_SHARDS.name))
    assert set(known) == {shard for _, shard in lake.stamps(["clips"])}, "another Dagster knows the shards that others made"


def test_status_tells_shards_runs_and_dataset(lafid: Any, curated_home: Path) -> None:
    status = json.loads(lafid("status", "--json").out)
    assert status["shards"] == {"all": 2, "current": 2, "stale": {}}
    assert (status["dataset"]["number"], status["dataset"]["clips"]) == (1, 0)
    (curated_home / "lafid.toml").write_text("[pose_filtered_clips]\npose_variation_min_deg = 60.0\n")
    assert "2, of them current 0; 2 to be computed from pose_filtered_clips on" in lafid("status").out


@pytest.mark.usefixtures("quick_charts")
def test_a_lost_report_or_copy_is_made_again(lafid: Any, curated_home: Path, bad_files: Path) -> None:
    for lost in ("store/reports/empty/report.html", "lafid.duckdb"):
        (curated_home / lost).unlink()
        assert "putting the dataset together" in lafid("curate", bad_files).out
        assert (curated_home / lost).is_file()


@pytest.mark.usefixtures("no_dataset")
def test_shards_without_a_clip_in_the_folder_are_left_alone(lafid: Any, curated_home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "more.mp4").write_bytes(b"other bytes" * 30)
    assert lafid("curate", other, "--policy", "faithfulfaces").code == 0
    sql = "SELECT count(DISTINCT shard) AS shards, policy FROM pose_filtered_clips GROUP BY policy ORDER BY policy"
    assert json.loads(lafid("query", sql, "--json").out) == [
        {"shards": 2, "policy": "cofe"},
        {"shards": 1, "policy": "faithfulfaces"},
    ]


@pytest.mark.usefixtures("no_dataset")
def test_a_shard_is_finished_though_its_files_are_known_by_another_shard_now(
    lafid: Any, home: Path, bad_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, policy = tmp_path / "clips", "SELECT DISTINCT policy FROM pose_filtered_clips"
    shutil.copytree(bad_files, folder / "moved")
    for path in (folder / "moved").iterdir():
        path.rename(folder / path.name)
    assert lafid("curate", folder, "--error-budget", 1).code == 0
    for path in folder.glob("*.mp4"):
        path.rename(folder / "moved" / path.name)
    (home / "lafid.toml").write_text("[pose_filtered_clips]\npose_variation_min_deg = 60.0\n")
    moved = lafid("curate", folder, "--error-budget", 1)
    assert moved.code == 0, moved.err
    assert "files: 2 new; 1 shards, 1 of them new" in moved.out
    assert json.loads(lafid("query", policy, "--json").out) == [{"policy": "cofe+"}]
    assert "1 shards are current; nothing to do" in lafid("curate", folder, "--error-budget", 1).out

    shutil.copytree(folder / "moved", tmp_path / "copies")
    (tmp_path / "copies" / "text.mp4").unlink()
    (tmp_path / "copies" / "empty.mp4").rename(tmp_path / "copies" / "copy.mp4")
    folder.rename(tmp_path / "unmounted")
    (home / "lafid.toml").write_text("")
    assert lafid("curate", tmp_path / "copies", "--error-budget", 1).code == 0
    assert json.loads(lafid("query", policy, "--json").out) == [{"policy": "cofe"}], "no clip has to be opened for that"
    [first] = json.loads(lafid("query", "SELECT DISTINCT shard FROM clips", "--json").out)
    stale = materialize.stale_shards

    def to_be_opened(reader: Any, chain: Any, shards: Sequence[str]) -> dict[str, str]:
        return {first["shard"]: "face_info"} if first["shard"] in shards else stale(reader, chain, shards)

    monkeypatch.setattr(materialize, "stale_shards", to_be_opened)
    left = lafid("curate", tmp_path / "copies", "--error-budget", 1)
    assert left.code == 0
    assert f"{first['shard']} have clips of these files, and others in a folder that is not there: left alone" in left.out


@pytest.mark.usefixtures("no_dataset")
def test_the_homes_file_tells_every_command(lafid: Any, curated_home: Path, bad_files: Path) -> None:
    (curated_home / "lafid.toml").write_text("[pose_filtered_clips]\npose_variation_min_deg = 60.0\n")
    differs = lafid("settings", "diff").out
    assert "pose_filtered_clips.pose_variation_min_deg: 45.0 -> 60.0" in differs
    assert re.search(r"pose_filtered_clips\s.*2 of 2", differs)
    assert "in this run" not in lafid("curate", bad_files).out
    sql = "SELECT DISTINCT policy, policy_sha256 FROM pose_filtered_clips"
    [row] = json.loads(lafid("query", sql, "--json").out)
    assert row["policy"] == "cofe+"
    assert "2 shards are current; nothing to do" in lafid("curate", bad_files).out
    named = lafid("curate", bad_files, "--policy", "cofe").out
    assert "pose_filtered_clips.pose_variation_min_deg is 45.0 in this run, 60.0 in lafid.toml" in named
    (curated_home / "lafid.toml").write_text("[pose_filtered_clips]\npose_variation = 60.0\n")
    assert "[pose_filtered_clips]: pose_variation: there is no such line" in lafid("curate", bad_files).error


@pytest.mark.usefixtures("no_dataset")
def test_list_policy_and_endpoint_reach_the_assets(
    lafid: Any, home: Path, bad_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.csv").write_text("path\ntext\nnowhere\n")
    own = tmp_path / "strict.toml"
    own.write_text("pose_variation_min_deg = 90\nsharpness_min = 5\n")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    endpoint = ("--caption-llm", "http://127.0.0.1:9/v1,a-model")
    ended = lafid("curate", bad_files, "--only", tmp_path / "list.csv", "--policy", own, *endpoint)
    assert ended.code == 0, ended.err
    assert "list.csv: 1 clips are here, 1 are missing" in ended.out
    assert "missing: nowhere (all of them:" in ended.out
    assert (home / "missing_clips.csv").read_text() == "missing\nnowhere\n"
    assert "caption_llm_answers 0" in ended.out
    assert "caption_llm_cost no price is configured" in ended.out
    funnel = json.loads(lafid("funnel", "--json").out)
    assert (funnel["in"], funnel["error"]) == (1, {"unreadable": 1})
    sql = "SELECT DISTINCT policy, settings FROM pose_filtered_clips JOIN policy_settings USING (policy_sha256)"
    [row] = json.loads(lafid("query", sql, "--json").out)
    assert row["policy"] == "strict"
    assert json.loads(row["settings"])["pose_variation_min_deg"] == 90


@pytest.mark.usefixtures("no_dataset")
def test_failing_shard_stops_no_other_and_is_named_with_its_cause(
    materializer: Callable[[], Materializer], bad_files: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = materializer()
    shards = _shards(first, bad_files, 1)
    assert len(shards) == 2
    with monkeypatch.context() as patched:
        _break_probing(patched, shards[0])
        with pytest.raises(RunFailed, match=rf"raw_clips \({shards[0]}\) failed: the disk caught fire \[1 of 2 shards"):
            first.curate(shards, CurationChoices())
    assert instance.get_runs_count() == 1, "neighbours share a run, and the dataset is left as it is"
    assert {shard for _, shard in first.lake.stamps(["speech_tagged_clips"])} == {shards[1]}
    assert f"raw_clips {shards[1]}" in first.tally.computed
    assert f"raw_clips {shards[0]}" not in first.tally.computed

    again = materializer()
    again.curate(shards, CurationChoices())
    assert f"raw_clips {shards[0]}" in again.tally.computed
    assert f"raw_clips {shards[1]}" in again.tally.up_to_date


def test_shard_that_fails_alone_is_named_with_its_cause(
    materializer: Callable[[], Materializer], bad_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = materializer()
    [shard] = _shards(opened, bad_files)
    _break_probing(monkeypatch, shard)
    with pytest.raises(RunFailed, match=rf"raw_clips \({shard}\) failed: .*the disk caught fire.*`lafid ui` shows its log"):
        opened.curate([shard], CurationChoices())


def test_broken_check_is_named(
    materializer: Callable[[], Materializer], bad_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_without_clip", lambda *_: Finding(1, "1 files lost"))
    opened = materializer()
    [shard] = _shards(opened, bad_files)
    with pytest.raises(RunFailed, match=rf"raw_clips \({shard}\) broke its check counts_add_up: 1 files lost"):
        opened.curate([shard], CurationChoices())


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
    assert CurationChoices().ops == {}, "what is not named is as lafid.toml has it"
    assert CurationChoices(error_budget=0.0).ops == {"face_info": {"config": {"limits": {"error_budget": 0.0}}}}


def test_endpoint_that_is_none_is_refused_before_anything_is_done(lafid: Any, home: Path, bad_files: Path) -> None:
    message = "'a-model' names no endpoint: give URL,MODEL"
    assert message in lafid("curate", bad_files, "--caption-llm", "a-model").error
    assert message in lafid("curate", bad_files, "--caption-frames", "a-model").error
    assert not (home / "store").exists()


def test_a_key_that_is_not_there_is_missed_before_anything_is_done(lafid: Any, home: Path, bad_files: Path) -> None:
    asked = ("--caption-llm", "http://127.0.0.1:9/v1,a-model")
    assert "http://127.0.0.1:9/v1 needs a key: set OPENAI_API_KEY" in lafid("curate", bad_files, *asked).error
    assert not (home / "store").exists()


def test_the_object_of_a_curation_is_alone_on_stdout(lafid: Any, curated_home: Path, bad_files: Path) -> None:
    ended = lafid("curate", bad_files, "--clips-per-shard", 1, "--json")
    assert (ended.code, ended.out.count("\n")) == (0, 1)
    found = json.loads(ended.out)
    assert set(found) >= {"dataset_version", "in", "kept", "rejected", "error", "report", "shards", "computed", "up_to_date"}
    assert (len(found["shards"]), found["computed"]) == (2, 0)
    assert "2 shards are current; nothing to do" in ended.err


def test_transcripts_that_cannot_be_read_are_named(lafid: Any, bad_files: Path) -> None:
    assert "no such .csv or .json file" in lafid("curate", bad_files, "--transcripts", "nowhere.csv").error


@pytest.mark.usefixtures("quick_charts")
def test_captions_of_a_model_are_not_rewritten_by_rules_without_a_word(
    lafid: Any, curated_home: Path, settings: Settings, bad_files: Path, row_of: Callable[..., dict[str, Any]]
) -> None:
    lake = open_lake(settings)
    [shard, _] = sorted({shard for _, shard in lake.stamps(["clips"])})
    tagged = SPEECH_TAGGED_CLIPS.frame([row_of(SPEECH_TAGGED_CLIPS, clip_id="a", shard=shard, rewriter="llm: a-model")])
    with lake.leases.held(f"{SPEECH_TAGGED_CLIPS.name}/{shard}") as lease:
        lake.put({SPEECH_TAGGED_CLIPS.name: tagged}, shard, "f", token=lease.token)
    lake.close()
    out = lafid("curate", bad_files).out
    assert "note: 1 captions were written by llm: a-model and no language model is named now" in out
    assert out.index("note: 1 captions") < out.index("done curating")
    assert "note:" not in lafid("curate", bad_files).out


@pytest.mark.usefixtures("no_dataset")
def test_error_budget_fails_a_shard_loudly_after_writing_it(lafid: Any, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.mp4").write_bytes(b"no video" * (100 + number))
    assert "error budget of 5.0%" in lafid("curate", folder).error
    assert json.loads(lafid("funnel", "--json").out)["error"] == {"unreadable": 4}
    assert lafid("curate", folder, "--error-budget", "1").code == 0
