"""`model_evaluation`: the checkpoint's measures on held-out identities.

Belongs here: the asset. Not here: measuring (`evaluation`), what is enough (`gates`).
"""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.outcomes import Status
from lafid_assets.release.evaluation import HELD_OUT, evaluate
from lafid_assets.release.held_out_measures import Measured
from lafid_assets.schemas import EVALUATED_CLIPS, FUSION_DIT, LAFID_DATASET, MODEL_EVALUATION, TRAINING_LATENTS
from lafid_assets.step import Step
from lafid_assets.step_run import Frames
from lafid_assets.training.cached_clips import read_cached, write_list
from lafid_assets.training.held_out import choose_held_out, drawing_of
from model.presets import preset
from resources.file_store import FileStore
from resources.lake import Lake

STEP = Step(
    writes=(MODEL_EVALUATION, EVALUATED_CLIPS),
    reads=(FUSION_DIT.name, LAFID_DATASET.name, TRAINING_LATENTS.name),
    group="release",
    code_version="4",
    kinds=frozenset({"pytorch"}),
)
SHOWN = (
    "split",
    "clip_id",
    "identity_id",
    "reached",
    "why",
    "first_frame_psnr_db",
    "likeness",
    "status",
    "detail",
    "video_path",
)


class ModelEvaluationConfig(dg.Config):
    """How much is drawn, and how."""

    clips: int = Field(8, ge=0, description="Held-out clips of each split that are drawn: persons take turns, then poses")
    drawing: dict[str, Any] = Field(
        {},
        description="How they are computed: lines of DrawingSettings (precision, low_memory, device)",
    )
    processes: int | None = Field(
        None, ge=1, description="Processes that draw at a time; one a GPU, or one where there is none, when left out"
    )
    deadline_s: float = Field(7200, gt=0, description="Seconds of computing that one video may take, with loading the model")


@dg.asset(**STEP.arguments(deps=["fusion_dit", "lafid_dataset"], pool="gpu"))
def model_evaluation(
    context: dg.AssetExecutionContext,
    config: ModelEvaluationConfig,
    lake: dg.ResourceParam[Lake],
) -> dg.MaterializeResult:
    """Flow loss, first-frame fidelity and likeness on persons that the checkpoint never saw; an interrupted run goes on with the
    next video."""
    return STEP.materialize(
        context,
        config,
        lake,
        lambda _: _evaluate(config, lake),
        settled=lambda _, frames: _is_whole(frames[EVALUATED_CLIPS.name], lake.store),
        metadata=lambda _, frames: _describe(frames),
    )


def _evaluate(config: ModelEvaluationConfig, lake: Lake) -> Frames:
    with lake.snapshot() as reader:
        checkpoint, dataset = reader.read(FUSION_DIT.name).row(0, named=True), reader.read(LAFID_DATASET.name)
        chosen = preset(checkpoint["preset"])
        latents = read_cached(reader, chosen)
    splits = [split for split in HELD_OUT if split in dataset["split"]]
    cached = latents.filter(pl.col("status") == Status.OK)["split"].to_list()
    measured = Measured(
        **{name: checkpoint[name] for name in ("checkpoint_sha256", "checkpoint_path", "base_path")},
        store=lake.store.local_path(""),
        clip_list=write_list(latents, lake.store),
        drawing=drawing_of(config.drawing, latents),
    )
    return evaluate(
        measured,
        {split: choose_held_out(dataset, latents, split, config.clips, chosen.clip) for split in splits},
        {split: cached.count(split) for split in splits},
        config.deadline_s,
        config.processes,
    )


def _is_whole(clips: pl.DataFrame, store: FileStore) -> bool:
    """Whether every video is there; a clip that failed counts as missing, for another try may do better."""
    failed = clips.filter(pl.col("status").is_in([Status.ERROR, Status.TIMEOUT]))
    return failed.is_empty() and all(store.exists(path) for path in clips["video_path"].drop_nulls())


def _describe(frames: Frames) -> dict[str, Any]:
    rows = frames[MODEL_EVALUATION.name].iter_rows(named=True)
    told = {f"{row['split']}_{row['metric']}": "NULL" if row["value"] is None else row["value"] for row in rows}
    chosen = frames[EVALUATED_CLIPS.name].select(SHOWN).sort("split", maintain_order=True)
    lines = [dg.TableRecord({name: "" if value is None else value for name, value in row.items()}) for row in chosen.to_dicts()]
    return told | ({"clips": dg.MetadataValue.table(lines)} if lines else {})
