"""`lafid_dataset`: the training table, split by person and versioned by content.

Belongs here: the asset and the join that makes it. Not here: splits, references, versions (modules of these names).
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets import schemas
from lafid_assets.checks.dataset_rates import figures_in_all
from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.dataset import face_tracks
from lafid_assets.dataset.funnel import Outcomes, read_outcomes
from lafid_assets.dataset.references import cross_references
from lafid_assets.dataset.refusals import ClipsLost, refuse_lost, refuse_mixed
from lafid_assets.dataset.splits import split_identities
from lafid_assets.dataset.versions import Version, dataset_version, keep_version, rules_of
from lafid_assets.lafid_toml.settings_check import deciding
from lafid_assets.outcomes import KEPT, Reason
from lafid_assets.policy_settings import settings_row
from lafid_assets.runs.run_settings import told_to
from lafid_assets.schemas.columns import ENGINE
from lafid_assets.schemas.products import REFERENCE
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.settings import Settings

LOGGER = logging.getLogger("lafid.dataset")
MODELS_BESIDE = ("has_audio", "lip_engine", "lip_engine_licence", "transcriber", "transcriber_licence", "mask", "mask_licence")
VOICE_DETECTOR = "silero-vad: MIT"
REFERENCE_FIELDS = tuple(field.name for field in REFERENCE.fields)
NOT_OF_RAW_CLIPS = ("shard", "width", "height")
CLIP_COLUMNS = tuple(
    name for name in schemas.LAFID_DATASET.dtypes if name in schemas.RAW_CLIPS.dtypes and name not in NOT_OF_RAW_CLIPS
)
COLUMNS: dict[str, tuple[str, ...]] = {
    schemas.FACE_CLIPS.name: ("clip_id", *(column.name for column in ENGINE)),
    schemas.FACE_INFO.name: face_tracks.FACE_COLUMNS,
    schemas.FACE_FRAMES.name: face_tracks.FRAME_COLUMNS,
    schemas.POSE_FILTERED_CLIPS.name: ("clip_id", "pose_variation_deg", *WINDOW_COLUMNS),
    schemas.ID_CONSISTENT_CLIPS.name: ("clip_id", "centroid"),
    schemas.IDENTITY_CLUSTERS.name: ("clip_id", "identity_id", "split_key"),
    schemas.SPEECH_INFO.name: ("clip_id", "has_audio", "engine", "engine_licence", "transcriber", "transcriber_licence"),
    schemas.SPEECH_TAGGED_CLIPS.name: ("clip_id", "shard", "refined_caption", "speaking_status", "speaking_sentence"),
    schemas.REFERENCE_CROPS.name: ("clip_id", "reference_index", *REFERENCE_FIELDS, "mask_licence"),
}
"""What is read of the kept clips, beside `raw_clips`."""
NEEDED = (schemas.REFERENCE_CROPS.name, schemas.IDENTITY_CLUSTERS.name)
"""Others may curate while the dataset is made: what has passed all steps since its persons were looked for is not in these."""
READS = tuple(
    dict.fromkeys(
        (
            *schemas.OUTCOME_TABLES.values(),
            schemas.PIECES.name,
            schemas.CLIP_FILES.name,
            schemas.CLIP_ROWS.name,
            schemas.CLIP_CONTENTS.name,
            *COLUMNS,
        )
    )
)


def one_split_each(frames: Frames) -> list[str]:
    """No person is in two splits."""
    sides = frames[schemas.LAFID_DATASET.name].group_by("identity_id").agg(pl.col("split").n_unique())
    return [f"{name} is in {count} splits" for name, count in sides.filter(pl.col("split") > 1).sort("identity_id").rows()]


STEP = Step(
    writes=(
        schemas.LAFID_DATASET,
        schemas.DATASET_VERSION_ROWS,
        schemas.DATASET_OUTCOMES,
        schemas.DATASET_VERSIONS,
        schemas.POLICY_SETTINGS,
    ),
    reads=READS,
    group="dataset",
    code_version="10",
    kinds=frozenset({"polars"}),
    facts=lambda config: config.model_dump(exclude={"lost_clips"}),
    not_deciding=frozenset({"lost_clips"}),
    checks={"one_split_each": one_split_each},
)


class LafidDatasetConfig(dg.Config):
    """What is kept was decided upstream."""

    mixed_settings: bool = Field(False, description="Put shards together that were measured or decided under different settings")
    lost_clips: bool = Field(
        False,
        description="Publish without clips of the last dataset that failed or went away, though nothing was decided about them",
    )


DEPS = (
    "identity_clusters",
    "duplicate_clips",
    "reference_crops",
    "speech_tagged_clips",
    "id_consistent_clips",
    "pose_filtered_clips",
)


@STEP.as_asset(deps=DEPS)
def lafid_dataset(
    context: dg.AssetExecutionContext,
    config: LafidDatasetConfig,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """The training table, a row a kept clip: caption, references, person, split by person and licence, versioned by its content.

    Training, the bench and exports read it; its page plots the rates of all shards together, and warns when they drift.
    """
    made: list[Version] = []
    told = json.dumps(deciding(told_to(context, settings)), sort_keys=True)
    settings_sha256, settings_frame = settings_row(told)

    def keep(reader: Reader, frames: Frames) -> Frames:
        return {**frames, schemas.DATASET_VERSIONS.name: keep_version(reader, frames[schemas.LAFID_DATASET.name], made[-1])}

    with TemporaryDirectory(prefix="lafid-") as folder:

        def compute(_: str) -> Frames:
            with lake.snapshot(all_cores=True) as reader:
                if not config.mixed_settings:
                    refuse_mixed(reader)
                dataset = put_together(reader, Path(folder))
                if not config.lost_clips:
                    refuse_lost(reader, dataset.version.outcomes, lake.store)
            made.append(replace(dataset.version, settings_sha256=settings_sha256))
            # What only grows is written in SQL, when the version turns out to be new.
            return {table.name: table.frame([]) for table in STEP.writes} | {
                schemas.LAFID_DATASET.name: dataset.rows,
                schemas.POLICY_SETTINGS.name: settings_frame,
            }

        result = STEP.materialize(context, config, lake, Work(compute, revise=keep, metadata=lambda _, frames: _describe(frames)))
    with lake.snapshot(all_cores=True) as reader:
        in_all = figures_in_all(reader)
    for asset, figures in in_all.items():  # of the assets of shards, whose own events say nothing of all shards together
        if asset != STEP.asset:
            context.log_event(dg.AssetObservation(asset, description="all shards together", metadata=figures))
    return dg.MaterializeResult(metadata=dict(result.metadata or {}) | in_all[STEP.asset], check_results=result.check_results)


class Dataset(NamedTuple):
    """The training table and its version."""

    rows: pl.DataFrame
    version: Version


def put_together(reader: Reader, folder: Path) -> Dataset:
    """Join what all steps know about the clips that every step passed. Whoever had a side in the last dataset keeps it.

    Args:
        folder: takes files, which the version needs.

    Raises:
        ClipsLost: a kept clip is not in all tables.
    """
    outcomes = read_outcomes(reader, folder, NEEDED)
    is_late = pl.col("step").is_in((*NEEDED, schemas.DUPLICATE_CLIPS.name)) & (pl.col("reason") == Reason.NOT_PROCESSED)
    late = outcomes.counts.filter(is_late)["clips"].sum()
    if late:
        LOGGER.warning("%d clips came while the dataset was made: the next refresh takes them in", late)
    joined = _join(_read(reader, outcomes))
    earlier = dict(reader.sql(f"SELECT DISTINCT split_key, split FROM {schemas.LAFID_DATASET.name}").iter_rows())
    splits = split_identities(joined["split_key"], earlier)
    split = joined["split_key"].replace_strict(splits, return_dtype=pl.String) if splits else joined["split_key"]
    rows = joined.with_columns(split=split)
    rules = rules_of(reader, outcomes)
    name = dataset_version(rows, outcomes.digest, rules)
    version = Version(name, outcomes, rules, reader.snapshot())
    return Dataset(schemas.LAFID_DATASET.frame(rows.with_columns(dataset_version=pl.lit(name))), version)


def _read(reader: Reader, outcomes: Outcomes) -> dict[str, pl.DataFrame]:
    """Table to its rows of the kept clips."""
    kept = f"WITH kept AS MATERIALIZED (SELECT clip_id FROM {outcomes.rows} WHERE status = '{KEPT}')"
    tables = {
        name: reader.sql(f"{kept} SELECT {', '.join(columns)} FROM {name} SEMI JOIN kept USING (clip_id)")
        for name, columns in COLUMNS.items()
    }
    # The view over fewer rows: it would gather all files of all clips before any are left out.
    recordings = f"SELECT recording_id FROM main.{schemas.PIECES.name} SEMI JOIN kept USING (clip_id)"
    fewer = [
        f"{table.name} AS (SELECT * FROM main.{table.name} SEMI JOIN {those} USING (clip_id))"
        for table, those in ((schemas.PIECES, "kept"), (schemas.CLIPS, "files"), (schemas.CLIP_CONTENTS, "files"))
    ]
    named = ", ".join([kept, f"files AS (SELECT clip_id FROM kept UNION {recordings})", *fewer])
    clips = f"{named} SELECT {', '.join(CLIP_COLUMNS)} FROM ({schemas.RAW_CLIPS.view}) SEMI JOIN kept USING (clip_id)"
    return tables | {schemas.RAW_CLIPS.name: reader.sql(clips)}


def _join(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    kept = tables[schemas.SPEECH_TAGGED_CLIPS.name]
    crops = tables[schemas.REFERENCE_CROPS.name]
    identities = tables[schemas.IDENTITY_CLUSTERS.name]
    joined = (
        kept.join(tables[schemas.RAW_CLIPS.name], on="clip_id")
        .join(tables[schemas.FACE_CLIPS.name], on="clip_id")
        .join(tables[schemas.POSE_FILTERED_CLIPS.name], on="clip_id")
        .join(tables[schemas.ID_CONSISTENT_CLIPS.name].rename({"centroid": "identity_embedding"}), on="clip_id")
        .join(identities, on="clip_id")
        .join(_references(crops), on="clip_id")
        .join(face_tracks.face_tracks(tables[schemas.FACE_INFO.name], tables[schemas.FACE_FRAMES.name]), on="clip_id")
        .join(cross_references(crops.select("clip_id", "reference_index"), identities), on="clip_id")
        .join(_models_beside(tables), on="clip_id")
    )
    lost = kept.join(joined, on="clip_id", how="anti")["clip_id"].sort()
    if len(lost):
        raise ClipsLost(
            f"{len(lost)} kept clips, the first {lost[0]}, are not in all tables of their shard: materialize it again"
        )
    return joined.with_columns(model_licences=_model_licences()).drop(MODELS_BESIDE)


def _references(crops: pl.DataFrame) -> pl.DataFrame:
    in_order = crops.sort("clip_id", "reference_index")
    listed = in_order.select("clip_id", references=pl.struct(REFERENCE_FIELDS).cast(REFERENCE))
    return listed.group_by("clip_id", maintain_order=True).agg("references")


def _models_beside(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """`clip_id` and `MODELS_BESIDE`: what measured a clip beside the face engine of `face_clips`."""
    crops = tables[schemas.REFERENCE_CROPS.name].select("clip_id", "mask", "mask_licence").unique("clip_id")
    speech = tables[schemas.SPEECH_INFO.name].rename({"engine": "lip_engine", "engine_licence": "lip_engine_licence"})
    return speech.join(crops, on="clip_id", how="left").select("clip_id", *MODELS_BESIDE)


def _model_licences() -> pl.Expr:
    heard = pl.when("has_audio").then(pl.lit(VOICE_DETECTOR))
    named = [pl.format("{}: {}", model, f"{model}_licence") for model in ("engine", "lip_engine", "transcriber", "mask")]
    return pl.concat_list(*named, heard).list.drop_nulls().list.unique().list.sort()


def _describe(frames: Frames) -> dict[str, str | int]:
    dataset = frames[schemas.LAFID_DATASET.name]
    splits = dict(dataset.group_by("split").len().iter_rows())
    return {
        "dataset_version": dataset["dataset_version"][0] if dataset.height else "empty",
        "identities": dataset["identity_id"].n_unique(),
        **{f"clips_{split}": splits.get(split, 0) for split in ("train", "validation", "test")},
    }
