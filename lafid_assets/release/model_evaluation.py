"""`model_evaluation`: what the checkpoint draws of the bench's persons, beside what the champion draws of them.

Belongs here: the asset. Not here: what is asked of whom (`evaluation_plan`), measuring (`evaluation`), the page
(`evaluation_page`), what is enough (`gates`).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.lafid_toml.settings_file import MODEL
from lafid_assets.outcomes import Status
from lafid_assets.pages import png_address
from lafid_assets.release.champion import Rival, rival_of
from lafid_assets.release.comparison import compare
from lafid_assets.release.evaluation import EvaluationFailed, evaluate
from lafid_assets.release.evaluation_page import Evaluated, page_path, write_page
from lafid_assets.release.evaluation_plan import Plan
from lafid_assets.release.model_files import ModelMissing
from lafid_assets.schemas import (
    EVALUATED_FRAMES,
    EVALUATED_VIDEOS,
    FUSION_DIT,
    LAFID_BENCH,
    LAFID_DATASET,
    MODEL_EVALUATION,
    TRAINING_LATENTS,
)
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from model.release.drawing_settings import DrawingSettings
from resources.lake.lake import Lake
from resources.store.file_store import FileStore
from resources.tracking import Tracking, TrackingUnreachable

LOGGER = logging.getLogger("lafid.release")

STEP = Step(
    writes=(MODEL_EVALUATION, EVALUATED_VIDEOS, EVALUATED_FRAMES),
    reads=(FUSION_DIT.name, LAFID_DATASET.name, TRAINING_LATENTS.name, LAFID_BENCH.name),
    group="release",
    code_version="5",
    kinds=frozenset({"pytorch"}),
    require=lambda config: DrawingSettings.of(config.drawing),
)
SHOWN = (
    "case_id",
    "identity_id",
    "yaw_bin",
    "pose_binned_similarity",
    "likeness",
    "faces_found_share",
    "first_frame_psnr_db",
    "status",
    "detail",
    "video_path",
)


class ModelEvaluationConfig(dg.Config):
    """How much is drawn, and how."""

    cases: int | None = Field(
        None, ge=0, description="Cases of the bench that are drawn: persons take turns, then poses; all of them when left out"
    )
    steps: int = Field(20, ge=1, description="Denoising steps of each video")
    drawing: dict[str, Any] = Field(
        {},
        description="How they are computed: lines of DrawingSettings (precision, low_memory, device)",
    )
    processes: int | None = Field(
        None, ge=1, description="Processes that draw at a time; one a GPU, or one where there is none, when left out"
    )
    deadline_s: float = Field(7200, gt=0, description="Seconds of computing that one video may take, with loading the model")
    model_name: str = Field(MODEL, description="Name in the registry of the champion that is evaluated beside it")


@STEP.as_asset(deps=["fusion_dit", "lafid_dataset", "lafid_bench"], pool="gpu")
def model_evaluation(
    context: dg.AssetExecutionContext,
    config: ModelEvaluationConfig,
    lake: dg.ResourceParam[Lake],
    tracking: dg.ResourceParam[Tracking],
) -> dg.MaterializeResult:
    """What the checkpoint draws of persons that it never saw, measured, beside the champion's; an interrupted run goes on
    with the next video.

    The release gate judges by it, and ML engineers read its page to see where a model is better or worse.
    """
    checkpoint = lake.read(FUSION_DIT.name).row(0, named=True)
    champion = _Champion(*_ask(checkpoint["checkpoint_sha256"], config.model_name, tracking))
    step = replace(STEP, facts=lambda config: config.model_dump() | {"compared_with": champion.checkpoint_sha256})
    work = Work(
        lambda _: _evaluate(checkpoint, config, lake, tracking, champion),
        settled=lambda _, frames: _is_whole(checkpoint["checkpoint_sha256"], frames, champion, lake.store),
        metadata=lambda _, frames: _describe(checkpoint, frames, champion, lake),
    )
    return step.materialize(context, config, lake, work)


@dataclass
class _Champion:
    """Whom the checkpoint is compared with, if anybody, and what is told of that."""

    rival: Rival | None
    told: str

    @property
    def checkpoint_sha256(self) -> str | None:
        """None: nobody."""
        return None if self.rival is None else self.rival.checkpoint_sha256


def _ask(checkpoint_sha256: str, name: str, tracking: Tracking) -> tuple[Rival | None, str]:
    """That the registry is away costs the comparison, not the evaluation."""
    try:
        rival = rival_of(checkpoint_sha256, name, tracking)
    except TrackingUnreachable as error:
        LOGGER.warning("the champion is not evaluated: %s", error)
        return None, f"not evaluated: {error}"
    return rival, "none" if rival is None else f"{rival.version.uri} ({rival.alias})"


def _evaluate(
    checkpoint: Mapping[str, Any], config: ModelEvaluationConfig, lake: Lake, tracking: Tracking, champion: _Champion
) -> Frames:
    store, plan = lake.store, Plan.of(checkpoint, config, lake)
    subject, bench = plan.subject, plan.bench
    frames = plan.done(evaluate, subject, store)
    if bench is None:
        return frames
    models = {f"{checkpoint['preset']} {subject.checkpoint_sha256[:8]}": subject.checkpoint_sha256}
    if champion.rival is not None:
        try:
            its = plan.rival(champion.rival, lake, tracking)
            theirs = plan.done(evaluate, its, store)
        except (ModelMissing, EvaluationFailed, ValueError, OSError) as error:
            champion.told = f"{champion.told} could not be evaluated: {error}"
            LOGGER.warning("%s", champion.told)
        else:
            frames = {name: pl.concat([frames[name], theirs[name]]) for name in frames}
            models[champion.told] = its.checkpoint_sha256
    assert subject.bench_dir is not None
    shown = Evaluated(store.here(""), bench, subject.bench_dir, models, frames, [f"Compared with: {champion.told}."])
    page = PurePosixPath(page_path(subject.checkpoint_sha256, bench.version))
    write_page(store.here(str(page)), shown)
    store.put(str(page))
    store.write_bytes(str(page.with_suffix(".png")), shown.curves_png)
    return frames


def _is_whole(own: str, frames: Frames, champion: _Champion, store: FileStore) -> bool:
    """Whether the loss and every video is there, the champion's videos, too; what failed counts as missing, for another try may
    do better."""
    measures, videos = frames[MODEL_EVALUATION.name], frames[EVALUATED_VIDEOS.name]
    lost = measures.filter(pl.col("value").is_null() & (pl.col("videos") > 0), checkpoint_sha256=own, metric="flow_loss")
    failed = videos.filter(pl.col("status").is_in([Status.ERROR, Status.TIMEOUT]))
    compared = videos.is_empty() or champion.checkpoint_sha256 in (None, *videos["checkpoint_sha256"])
    return lost.is_empty() and failed.is_empty() and compared and all(map(store.exists, videos["video_path"].drop_nulls()))


def _why_no_bench(lake: Lake) -> str:
    if lake.stamps([LAFID_BENCH.name]):
        return "the test split gives no case to draw"
    return "nobody has made one: run `lafid bench`, then materialize model_evaluation"


def _describe(checkpoint: Mapping[str, Any], frames: Frames, champion: _Champion, lake: Lake) -> dict[str, Any]:
    own = checkpoint["checkpoint_sha256"]
    measures, videos = (frames[table.name] for table in (MODEL_EVALUATION, EVALUATED_VIDEOS))
    rows = measures.filter(checkpoint_sha256=own).iter_rows(named=True)
    told: dict[str, Any] = {
        f"{row['split']}_{row['metric']}": row["absent"] if row["value"] is None else row["value"] for row in rows
    }
    told["compared_with"] = champion.told
    lines = videos.filter(checkpoint_sha256=own).select(SHOWN).sort("pose_binned_similarity", nulls_last=False).to_dicts()
    if not lines:
        return told | {"bench": f"none: {_why_no_bench(lake)}"}
    versions = videos["bench_version"].unique().to_list()
    if champion.checkpoint_sha256 in videos["checkpoint_sha256"]:
        found = compare(videos, frames[EVALUATED_FRAMES.name], own, str(champion.checkpoint_sha256))
        told |= {f"against_{one.metric}": f"{one.told}: {one.verdict}" for one in found}
    page = page_path(own, versions[0])
    records = [dg.TableRecord({name: "" if value is None else value for name, value in row.items()}) for row in lines]
    told |= {
        "bench": versions[0],
        "page": dg.MetadataValue.path(lake.store.address(page)),
        "videos": dg.MetadataValue.table(records),
    }
    picture = str(PurePosixPath(page).with_suffix(".png"))
    if lake.store.exists(picture):
        told["curves"] = dg.MetadataValue.md(f"![similarity by pose]({png_address(lake.store.read_bytes(picture))})")
    return told
