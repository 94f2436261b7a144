"""The training table, joined from all steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.constraints import pose_filtered_clips
from lafid_assets.constraints.pose_filtered_clips import PoseFilteredClipsConfig
from lafid_assets.dataset import face_tracks, reference_crops
from lafid_assets.dataset.lafid_dataset import ClipsLost, lafid_dataset, one_split_each, put_together
from lafid_assets.dataset.reference_crops import ReferenceCropsConfig
from lafid_assets.dataset.versions import find_version, known_versions
from lafid_assets.policy_settings import all_settings, settings_row
from lafid_assets.runs.run_failure import MOST_CHARACTERS
from lafid_assets.schemas import (
    DATASET_OUTCOMES,
    DATASET_VERSION_ROWS,
    DATASET_VERSIONS,
    LAFID_DATASET,
    POLICY_SETTINGS,
    REFERENCE_CROPS,
)
from lafid_assets.speech import speech_info, speech_tagged_clips
from lafid_assets.speech.speech_info import SpeechInfoConfig, VoiceConfig
from lafid_assets.speech.speech_tagged_clips import CaptionLlmConfig, SpeechTaggedClipsConfig
from lafid_assets.steps.step import Step
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.settings import Settings

Tables = dict[str, pl.DataFrame]
Curated = Callable[..., Tables]
CURATION = ("raw_clips", "face_info", "pose_filtered_clips", "id_consistent_clips", "speech_info", "speech_tagged_clips")
PERSONS = {"a": "p", "b": "p", "c": "q", "d": None, "e": "r"}


@pytest.fixture
def dataset_of(reader_of: Callable[[Tables], Reader], tmp_path: Path) -> Callable[[Tables], pl.DataFrame]:
    def make(tables: Tables) -> pl.DataFrame:
        dataset = put_together(reader_of(tables), tmp_path).rows
        assert LAFID_DATASET.violations(dataset) == []
        return dataset

    return make


Of = Callable[[Tables], pl.DataFrame]


def test_kept_clips_come_with_all_that_is_known(curated: Curated, dataset_of: Of) -> None:
    dataset = dataset_of(curated(PERSONS))
    assert dict(dataset.select("clip_id", "identity_id").iter_rows()) == {"a": "p", "b": "p", "c": "q", "e": "r"}
    row = dataset.row(0, named=True)
    assert (row["content_sha256"], row["refined_caption"], row["licence"]) == ("sha-a", "caption of a", "CC")
    assert (row["clip_root"], row["path"]) == ("/footage", "a")
    assert (row["engine"], row["pose_variation_deg"], row["identity_embedding"]) == ("dlib", 60.0, [1.0, 0.0])
    assert [reference["yaw_deg"] for reference in row["references"]] == [0.0, -20.0, 20.0]
    assert (row["width"], row["height"]) == (640, 360)
    assert [(place["time_s"], place["frame_index"], place["face_index"]) for place in row["face_track"]] == [
        (0.0, 0, 0),
        (0.5, 1, 0),
        (1.0, 2, 0),
    ]


def test_shots_of_a_recording_are_clips_of_their_own(curated: Curated, dataset_of: Of, as_pieces: Any) -> None:
    dataset = dataset_of(as_pieces(curated(PERSONS), "film", ["b", "c", "d"]))
    assert dataset["clip_id"].to_list() == ["a", "b", "c", "e"]
    shots = dataset.filter(pl.col("recording_id") == "film")
    place = ("clip_id", "path", "content_sha256", "first_pts", "last_pts", "start_s", "duration_s")
    assert shots.select(place).rows() == [("b", "film", "sha-film", 0, 9, 0.0, 1.0), ("c", "film", "sha-film", 10, 19, 1.0, 1.0)]
    whole = dataset.row(0, named=True)
    assert (whole["recording_id"], whole["first_pts"], whole["duration_s"]) == (None, None, 2.0)


def test_clip_that_an_earlier_step_rejects_by_now_is_not_kept(curated: Curated, dataset_of: Of) -> None:
    """The steps after it have not been computed again yet."""
    tables = curated(PERSONS)
    status = pl.when(pl.col("clip_id") == "c").then(pl.lit("rejected")).otherwise("status")
    reason = pl.when(pl.col("clip_id") == "c").then(pl.lit("no_face")).otherwise("reason")
    decided = tables["pose_filtered_clips"].with_columns(status=status, reason=reason)
    assert dataset_of(tables | {"pose_filtered_clips": decided})["clip_id"].to_list() == ["a", "b", "e"]


def test_persons_are_on_one_side(curated: Curated, dataset_of: Of) -> None:
    dataset = dataset_of(curated(PERSONS))
    assert one_split_each({"lafid_dataset": dataset}) == []
    assert set(dataset["split"]) == {"train", "validation", "test"}
    torn = dataset.with_columns(split=pl.when(pl.col("clip_id") == "a").then(pl.lit("x")).otherwise(pl.lit("y")))
    assert one_split_each({"lafid_dataset": torn}) == ["p is in 2 splits"]


def test_nothing_kept_is_an_empty_table(curated: Curated, dataset_of: Of) -> None:
    assert dataset_of(curated({"a": None})).height == 0


def test_version_follows_the_decisions(curated: Curated, dataset_of: Of) -> None:
    tables = curated(PERSONS)
    first = dataset_of(tables)["dataset_version"].unique().to_list()
    assert first == dataset_of(tables)["dataset_version"].unique().to_list()
    assert len(first) == 1
    stricter = tables | {"pose_filtered_clips": tables["pose_filtered_clips"].with_columns(policy=pl.lit("strict"))}
    fewer = curated(PERSONS | {"e": None})
    rejected_otherwise = tables["pose_filtered_clips"].with_columns(pl.col("reason").replace("no_face", "static"))
    for changed in (stricter, fewer, tables | {"pose_filtered_clips": rejected_otherwise}):
        assert dataset_of(changed)["dataset_version"][0] != first[0]


def test_version_knows_neither_shards_nor_folders(curated: Curated, dataset_of: Of) -> None:
    """Two homes on one lake get what one machine gets."""
    once = dataset_of(curated(PERSONS))
    halves = [
        curated({clip: person for clip, person in PERSONS.items() if (clip < "c") == first}, f"/mnt/{first}", f"shard-{first}")
        for first in (False, True)
    ]
    twice = dataset_of({name: pl.concat([half[name] for half in halves]).unique(maintain_order=True) for name in halves[0]})
    assert twice.drop("shard", "clip_root").equals(once.drop("shard", "clip_root"))
    assert twice["shard"].n_unique() == 2


@pytest.mark.parametrize("table", ["identity_clusters", "reference_crops"])
def test_clip_that_came_meanwhile_waits_for_the_next_refresh(
    curated: Curated, reader_of: Callable[[Tables], Reader], tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another home curates on: the dataset is made without the clip, which is counted, and told."""
    tables = curated(PERSONS)
    reader = reader_of(tables | {table: tables[table].filter(pl.col("clip_id") != "c")})
    made = put_together(reader, tmp_path)
    assert made.rows["clip_id"].to_list() == ["a", "b", "e"]
    ended = reader.sql(f"SELECT status, step, reason FROM {made.version.outcomes.rows} WHERE clip_id = 'c'").rows()
    assert ended == [("skipped", table, "not_processed")]
    assert "1 clips came while the dataset was made: the next refresh takes them in" in caplog.text


def test_kept_clip_that_would_get_lost_is_named(curated: Curated, dataset_of: Of, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = face_tracks.face_tracks
    monkeypatch.setattr(face_tracks, "face_tracks", lambda *tables: tracks(*tables).filter(pl.col("clip_id") != "c"))
    with pytest.raises(ClipsLost, match="1 kept clips, the first c, are not in all tables of their shard"):
        dataset_of(curated(PERSONS))


def test_of_several_files_of_a_clip_the_one_seen_last_is_named(
    curated: Curated, dataset_of: Of, row_of: Callable[..., dict[str, Any]]
) -> None:
    tables, copy = curated(PERSONS), curated(PERSONS, "/moved")
    for name in ("clip_files", "clip_rows", "clip_contents"):
        tables[name] = pl.concat([tables[name], copy[name]])
    tables["clip_roots"] = pl.concat([tables["clip_roots"], copy["clip_roots"].with_columns(seen_at=pl.lit("z"))])
    assert set(dataset_of(tables)["clip_root"]) == {"/moved"}


def test_licences_of_clip_and_models_are_columns(curated: Curated, dataset_of: Of) -> None:
    tables = curated({"a": "p", "b": "q", "c": "r"})
    heard = pl.Series([True, True, False])
    models = pl.Series(["whisper-x", "file: words.srt", None])
    terms = pl.Series(["MIT", None, None])
    lips = pl.Series(["dlib", "insightface/w600k", "dlib"])
    tables["speech_info"] = (
        tables["speech_info"]
        .sort("clip_id")
        .with_columns(has_audio=heard, transcriber=models, transcriber_licence=terms, engine=lips)
    )
    masked = pl.col("clip_id") == "c"
    tables["reference_crops"] = tables["reference_crops"].with_columns(
        mask=pl.when(masked).then(pl.lit("modnet")).otherwise("mask"), mask_licence=pl.when(masked).then(pl.lit("Apache-2.0"))
    )
    tables["clip_rows"] = tables["clip_rows"].with_columns(gate=pl.lit("gated"))
    dataset = dataset_of(tables).sort("clip_id")
    research = "non-commercial-research"
    assert dataset["model_licences"].to_list() == [
        [f"dlib: {research}", "silero-vad: MIT", "whisper-x: MIT"],
        [f"dlib: {research}", f"insightface/w600k: {research}", "silero-vad: MIT"],
        [f"dlib: {research}", "modnet: Apache-2.0"],
    ]
    assert set(dataset["gate"]) == {"gated"}


def test_clips_of_one_person_refer_to_each_other(curated: Curated, dataset_of: Of) -> None:
    dataset = dataset_of(curated(PERSONS)).sort("clip_id")
    crossed = {row["clip_id"]: [ref["clip_id"] for ref in row["cross_references"]] for row in dataset.iter_rows(named=True)}
    assert crossed == {"a": ["b"], "b": ["a"], "c": [], "e": []}


def test_asset_keeps_every_version_once(lake: Lake, settings: Settings, lay: Callable[[Tables], None], curated: Curated) -> None:
    """Through Dagster: current is not computed again, a version that comes back adds nothing, the list of versions grows."""
    instance = dg.DagsterInstance.ephemeral()

    def run(persons: dict[str, str | None], sharpness: float | None = None, **config: bool) -> dict[str, Any]:
        tables = curated(persons)
        measured = tables["pose_filtered_clips"].with_columns(sharpness=pl.lit(sharpness, pl.Float64))
        lay(tables | {"pose_filtered_clips": measured})
        told = {"ops": {"lafid_dataset": {"config": config}}}
        resources = {"lake": lake, "settings": settings}
        result = dg.materialize([lafid_dataset], instance=instance, resources=resources, run_config=told)
        [event] = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    first = run(PERSONS)
    assert not run(PERSONS)["computed"]
    fewer = {clip: person if clip == "a" else None for clip, person in PERSONS.items()}
    second = run(fewer)
    versions = [first["dataset_version"], second["dataset_version"]]
    assert known_versions(lake)["dataset_version"].to_list() == versions
    assert known_versions(lake)["number"].to_list() == [1, 2]
    assert DATASET_VERSIONS.violations(lake.read("dataset_versions")) == []
    rows = [lake.read(table.name).height for table in (DATASET_VERSION_ROWS, DATASET_OUTCOMES)]
    again = run(fewer, sharpness=5.0)
    assert (again["computed"], again["dataset_version"]) == (True, versions[1]), "a score alone makes no version"
    assert known_versions(lake).height == 2
    assert [lake.read(table.name).height for table in (DATASET_VERSION_ROWS, DATASET_OUTCOMES)] == rows
    with pytest.raises(dg.Failure, match="1 clips of the last dataset would be gone"):
        run({"b": "q"})
    assert lake.read("lafid_dataset")["clip_id"].to_list() == ["a"]
    assert run({"b": "q"}, lost_clips=True)["computed"]


def test_shards_under_different_settings_are_refused_unless_asked_for(
    lake: Lake, settings: Settings, lay: Callable[[Tables], None], curated: Curated
) -> None:
    first, other = "shard-00000", "shard-00009-99999999"
    ours, theirs = curated({"a": "p"}), curated({"b": "q"}, shard=other)
    both = {name: pl.concat([ours[name], theirs[name]]).unique(maintain_order=True) for name in ours}
    lay(both)
    endpoint = CaptionLlmConfig(base_url="http://x/v1", model="m")
    told: list[tuple[Step, dg.Config, dg.Config]] = [
        (pose_filtered_clips.STEP, PoseFilteredClipsConfig(), PoseFilteredClipsConfig(pose_variation_min_deg=90.0)),
        (speech_info.STEP, SpeechInfoConfig(engine="dlib"), SpeechInfoConfig(voice=VoiceConfig(threshold=0.7))),
        (reference_crops.STEP, ReferenceCropsConfig(mask="auto"), ReferenceCropsConfig(mask="oval", spread="pose")),
        (speech_tagged_clips.STEP, SpeechTaggedClipsConfig(), SpeechTaggedClipsConfig(caption_llm=endpoint)),
    ]
    for step, *configs in told:
        for shard, config in zip((first, other), configs, strict=True):
            sha256, said = settings_row(json.dumps(step.deciding(config)))
            frame = both[step.table.name].filter(shard=shard)
            lake.put({step.table.name: frame, POLICY_SETTINGS.name: said}, shard, "f", settings_sha256=sha256)

    def run(**config: bool) -> dg.ExecuteInProcessResult:
        named = {"ops": {"lafid_dataset": {"config": config}}}
        resources = {"lake": lake, "settings": settings}
        instance = dg.DagsterInstance.ephemeral()
        return dg.materialize([lafid_dataset], instance=instance, resources=resources, run_config=named, raise_on_error=False)

    [failure] = run().get_step_failure_events()
    message = failure.step_failure_data.error.cause.message
    for line in (
        f"pose_filtered_clips of {first} and {other}: pose_variation_min_deg: 45.0, 90.0.",
        f"speech_info of {first} and {other}: voice.threshold: 0.5, 0.7.",
        f'reference_crops of {first} and {other}: spread: "both", "pose".',
    ):
        assert line in message
    assert "speech_tagged_clips" not in message, "an endpoint decides nothing"
    assert "set mixed_settings" in message[:MOST_CHARACTERS], "so much of it is in the list of runs"
    assert not lake.stamps(["lafid_dataset"]), "nothing was written"
    assert run(mixed_settings=True).success
    assert lake.read("lafid_dataset")["clip_id"].to_list() == ["a", "b"]


def test_a_version_names_what_its_run_was_told(
    lake: Lake, settings: Settings, lay: Callable[[Tables], None], curated: Curated
) -> None:
    lay(curated(PERSONS))
    instance = dg.DagsterInstance.ephemeral()
    run = dg.materialize([lafid_dataset], instance=instance, resources={"lake": lake, "settings": settings})
    [sha256] = known_versions(lake)["settings_sha256"]
    assert instance.get_run_by_id(run.run_id).tags["lafid/settings"] == sha256[:16]
    assert json.loads(all_settings(lake)[sha256])["pose_filtered_clips"]["pose_variation_min_deg"] == 45.0


def test_figures_of_all_shards_together_are_plotted_on_each_asset(
    lake: Lake, settings: Settings, lay: Callable[[Tables], None], curated: Curated
) -> None:
    """A shard's own event knows nothing of the others."""
    lay(curated(PERSONS))
    resources = {"lake": lake, "settings": settings}
    for _ in range(2):  # the second finds everything current
        run = dg.materialize([lafid_dataset], instance=dg.DagsterInstance.ephemeral(), resources=resources)
        [told] = run.get_asset_materialization_events()
        assert told.materialization.metadata["keep_rate_in_all"] == dg.FloatMetadataValue(4 / 5)
        observed = {
            event.event_specific_data.asset_observation.asset_key.to_user_string(): event.event_specific_data.asset_observation
            for event in run.all_events
            if event.event_type_value == "ASSET_OBSERVATION"
        }
        assert set(observed) == {*CURATION, "duplicate_clips"}
        figures = {name: entry.value for name, entry in observed["pose_filtered_clips"].metadata.items()}
        assert figures == {"clips_in_all": 5, "keep_rate_in_all": 0.8, "error_rate_in_all": 0.0, "audit_rate_in_all": 0.8}
        assert observed["id_consistent_clips"].metadata["clips_in_all"].value == 4
        assert observed["pose_filtered_clips"].partition is None


def test_snapshot_that_was_read_is_recorded(lake: Lake, keep: Callable[[Tables], Any], curated: Curated) -> None:
    made = keep(curated(PERSONS))
    facts = find_version(lake, "latest")
    assert facts["snapshot"] == made.version.snapshot
    crops = lake.sql(f"SELECT count(*) FROM {REFERENCE_CROPS.name} AT (VERSION => {facts['snapshot']})").item()
    assert (crops, lake.sql(f"SELECT count(*) FROM lafid_dataset AT (VERSION => {facts['snapshot']})").item()) == (12, 0)


def test_nobody_changes_sides_when_persons_come(curated: Curated, dataset_of: Of) -> None:
    """Also when the hashes would have it otherwise: a handful of persons cannot fill three splits by chance."""
    persons: dict[str, str | None] = {}
    last: Tables = {}
    sides: dict[str, str] = {}
    for person in "pqrstuvw":
        persons[f"clip-{person}"] = person
        made = dataset_of(curated(persons) | last)
        now = dict(made.select("split_key", "split").iter_rows())
        assert {key: now[key] for key in sides} == sides
        last, sides = {LAFID_DATASET.name: made}, now
