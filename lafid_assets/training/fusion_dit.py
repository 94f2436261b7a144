"""`fusion_dit`: the trained checkpoint.

Belongs here: the asset. Not here: the training loop (`model.training.train`), the process that it runs in (`resources.trainer`).
"""

import logging
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.outcomes import ClipError, Status
from lafid_assets.pages import png_address
from lafid_assets.release.lineage import COMMIT_TAG, git_commit, policies_of
from lafid_assets.schemas import DATASET_VERSIONS, FUSION_DIT, LAFID_DATASET, TRAINING_LATENTS
from lafid_assets.schemas.products import PUBLISHED
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Frames, Work
from lafid_assets.training.base import base_folder, base_path
from lafid_assets.training.cached_clips import read_cached, write_list
from lafid_assets.training.figures import training_png
from lafid_assets.training.held_out import choose_held_out, drawing_of, write_first_frame
from model.clip_size import ClipSize
from model.presets import Preset, preset
from model.release.drawing_settings import DrawingSettings
from model.training.schedule import in_steps
from resources.lake.lake import Lake
from resources.store.file_store import FileStore
from resources.tracking import DATASET_TAG, Tracking, TrackingUnreachable
from resources.trainer.client import TrainerClient
from resources.trainer.job import RUNS_FOLDER, Finished, HeldOutClip, KeptIn, TrainingJob

LOGGER = logging.getLogger("lafid.training")
FIRST_FRAMES = "held_out"
"""A folder beside the runs: what their videos begin with."""
CHANGES = ("steps", "seed", "trainable", "validate_every", "keep_checkpoints", "publish")
CURVES = ("loss", "validation_loss", "likeness", "ema/likeness")
SHOWN = (
    "loss_before",
    "loss_after",
    "validation_loss",
    "validated_on",
    "likeness",
    "judged_by",
    "steps",
    "published",
    "step",
    "train_clips",
    "checkpoint_path",
    "dataset_version",
    "mlflow_run_id",
)


class FusionDitConfig(dg.Config):
    """A preset, and what of it to change; None leaves the preset's own value."""

    preset: str = Field("tiny", description="Name of the preset")
    steps: int | None = Field(
        None, ge=1, description="Optimizer steps; the preset's warmup and curriculum keep their shares of them, unless train says"
    )
    seed: int | None = Field(None, ge=0, description="Seed of every draw")
    trainable: str | None = Field(
        None, description="What is trained: adapter, adapter_and_cross_attention, adapter_and_lora, all"
    )
    train: dict[str, Any] = Field(
        {},
        description="Further lines of the preset's TrainConfig: deterministic, forward_clips, curriculum, face_loss_weight, ...",
    )
    validate_every: int | None = Field(
        None, ge=1, description="Optimizer steps between two checkpoints that held-out clips judge"
    )
    keep_checkpoints: int | None = Field(None, ge=1, description="Judged checkpoints to keep, the newest; the best is kept, too")
    validation_clips: int = Field(
        2,
        ge=0,
        description="Held-out clips that every judged model draws, and by whose likeness the best is found; 0: by the loss",
    )
    drawing: dict[str, Any] = Field(
        {}, description="How their videos are computed: lines of DrawingSettings (precision, low_memory)"
    )
    publish: str | None = Field(
        None, description=f"Which checkpoint becomes the asset: {', '.join(PUBLISHED)}; the latter two of the moving average"
    )

    def resolved(self) -> Preset:
        """The preset with the changes.

        Raises:
            ValueError: a name is unknown or a value out of its bounds, something is said twice, what is to be published is not
                there where nothing is judged or averaged, or the warmup takes all steps.
        """
        chosen = preset(self.preset)
        changes = {name: getattr(self, name) for name in CHANGES if getattr(self, name) is not None}
        if twice := sorted(changes.keys() & self.train.keys()):
            raise ValueError(f"{twice[0]} is said twice: take it out of train")
        told = self.train | changes
        steps = told.get("steps")
        # What is no number is refused by the preset.
        train = in_steps(chosen.train, steps) if isinstance(steps, int) else chosen.train
        resolved = Preset(**chosen.model_dump() | {"train": train.model_dump() | told})
        if 1 < resolved.train.steps <= resolved.train.warmup_steps:
            raise ValueError(
                f"warmup_steps {resolved.train.warmup_steps} of steps {resolved.train.steps}: the learning rate would only rise; "
                f"let warmup_steps be less than steps"
            )
        return resolved


STEP = Step(
    writes=(FUSION_DIT,),
    reads=(TRAINING_LATENTS.name,),
    group="training",
    code_version="4",
    kinds=frozenset({"pytorch"}),
    facts=lambda config: [config.model_dump(), config.resolved().model_dump(mode="json")],
    require=lambda config: DrawingSettings.of(config.drawing),
)


@STEP.as_asset(deps=["training_latents"], pool="gpu")
def fusion_dit(
    context: dg.AssetExecutionContext,
    config: FusionDitConfig,
    lake: dg.ResourceParam[Lake],
    store: dg.ResourceParam[FileStore],
    tracking: dg.ResourceParam[Tracking],
    trainer: dg.ResourceParam[TrainerClient],
) -> dg.MaterializeResult:
    """The video DiT with its three face experts, trained on the train split; an interrupted run goes on where it stopped.

    ML engineers compare its losses and likeness; evaluation draws with it, and release registers it.
    """
    chosen = config.resolved()
    trained: list[Finished] = []

    def compute(_: str) -> Frames:
        with lake.snapshot(all_cores=True) as reader:
            latents = read_cached(reader, chosen)
        job = _job(chosen, config, latents, lake, tracking, context.run_id)
        trained.append(trainer.train(context, job))
        return {FUSION_DIT.name: FUSION_DIT.frame([_row(job, trained[0], latents, store)])}

    work = Work(
        compute,
        settled=lambda _, frames: all(store.exists(f"{path}/lafid.json") for path in frames[FUSION_DIT.name]["checkpoint_path"]),
        metadata=lambda _, frames: _describe(frames) | (_describe_training(trained[0], tracking) if trained else {}),
    )
    return STEP.materialize(context, config, lake, work)


def _job(
    chosen: Preset, config: FusionDitConfig, latents: pl.DataFrame, lake: Lake, tracking: Tracking, run_id: str
) -> TrainingJob:
    store = lake.store
    clip_list, version = write_list(latents, store), latents["dataset_version"][0]
    return TrainingJob(
        preset=chosen,
        clip_list=clip_list,
        held_out=_held_out(config.validation_clips, chosen.clip, latents, lake) if chosen.train.validate_every else (),
        drawing=drawing_of(config.drawing, latents),
        base_dir=base_folder(chosen.name, store),
        out_dir=store.here(RUNS_FOLDER),
        kept_in=None if store.is_local else KeptIn(store_uri=store.uri, home=lake.home),
        dataset_version=version,
        tracking_uri=tracking.uri,
        tracking_artifacts=tracking.artifacts,
        tags=origin_tags(chosen, version, lake, run_id),
    )


def _held_out(most: int, size: ClipSize, latents: pl.DataFrame, lake: Lake) -> tuple[HeldOutClip, ...]:
    """Without the clips whose file is not there any more: all that training reads is cached."""
    folder = lake.store.here(f"{RUNS_FOLDER}/{FIRST_FRAMES}")
    found = []
    for one in choose_held_out(lake.read(LAFID_DATASET.name), latents, "validation", most, size) if most else ():
        clip_id, caption = one.clip["clip_id"], one.clip["refined_caption"] or ""
        try:
            first = write_first_frame(one.clip, one.start_s, folder)
        except ClipError as error:
            LOGGER.warning("no video of held-out clip %s is drawn: %s", clip_id, error.detail)
            continue
        found.append(
            HeldOutClip(clip_id=clip_id, first_frame=first, bucket=one.bucket, centre_xy_px=one.centre_xy_px, caption=caption)
        )
    return tuple(found)


def _row(job: TrainingJob, result: Finished, latents: pl.DataFrame, store: FileStore) -> dict[str, Any]:
    from model.files import sha256_folder

    published = job.preset.train.publish
    checkpoint = result.checkpoints[published]
    store.put("/".join(_in_store(checkpoint.folder, store).split("/")[:2]))  # all of the run, where it is not there yet
    cached = latents.filter((pl.col("split") == "train") & (pl.col("status") == Status.OK))
    return {
        "checkpoint_sha256": sha256_folder(checkpoint.folder),
        "checkpoint_path": _in_store(checkpoint.folder, store),
        "base_path": base_path(job.preset.name),
        "preset": job.preset.name,
        "steps": result.checkpoints["last"].step,
        "published": published,
        "step": checkpoint.step,
        "loss_before": result.loss_before,
        "loss_after": checkpoint.loss_after,
        "validation_loss": checkpoint.validation_loss,
        "validated_on": checkpoint.validated_on,
        "likeness": checkpoint.likeness.mean if checkpoint.likeness else None,
        "judged_by": checkpoint.judged_by,
        "train_clips": cached.height - len(result.clips_left_out),
        "dataset_version": job.dataset_version,
        "mlflow_run_id": result.mlflow_run_id,
    }


def _in_store(folder: Path, store: FileStore) -> str:
    return folder.relative_to(store.here("")).as_posix()


def _describe(frames: Frames) -> dict[str, Any]:
    row = frames[FUSION_DIT.name].row(0, named=True)
    return {name: "none" if row[name] is None else row[name] for name in SHOWN}


def _describe_training(result: Finished, tracking: Tracking) -> dict[str, Any]:
    """What the trainer told; its last figures under `train/`, where Dagster plots them from one training to the next."""
    told: dict[str, Any] = {"resumed_from": result.resumed_from, "clips_left_out": len(result.clips_left_out)}
    for which, checkpoint in result.checkpoints.items():
        told |= {f"{which}_checkpoint": dg.MetadataValue.path(str(checkpoint.folder)), f"{which}_step": checkpoint.step}
        figures = checkpoint.likeness.figures() if checkpoint.likeness else {}
        told |= {f"{which}_{name}": value for name, value in figures.items() if value is not None}
    if result.videos_dir:
        told["validation_videos"] = dg.MetadataValue.table(
            [dg.TableRecord(_named(video)) for video in sorted(result.videos_dir.rglob("*.mp4"))]
        )
    picture = _curves(result, tracking)
    if picture:
        told["curves"] = dg.MetadataValue.md(f"![loss and likeness]({picture})")
    return told | {f"train/{name}": value for name, value in result.metrics.items()}


def _curves(result: Finished, tracking: Tracking) -> str | None:
    """An address that carries the picture. Training is over: if MLflow is away, that is said and costs nothing."""
    from mlflow.exceptions import MlflowException

    if result.mlflow_run_id is None:
        return None
    best = result.checkpoints.get("best")
    try:
        loss, *judged = (tracking.curve(result.mlflow_run_id, name) for name in CURVES)
    except (MlflowException, TrackingUnreachable) as error:
        LOGGER.warning("the curves are not drawn, MLflow does not give them: %s", error)
        return None
    return png_address(training_png(loss, *judged, best_step=best.step if best else None))


def _named(video: Path) -> dict[str, Any]:
    """A video's step, weights and clip, by its place."""
    step, _, averaged = video.parent.name.removeprefix("step-").partition("-")
    return {"step": int(step), "averaged": bool(averaged), "clip_id": video.stem, "path": str(video)}


def origin_tags(chosen: Preset, dataset_version: str, lake: Lake, run_id: str) -> dict[str, str]:
    """Dataset version, policies that decided it, code, run, preset and seed; the base's own are added by the trainer.

    Args:
        run_id: Dagster's run.
    """
    return {
        DATASET_TAG: dataset_version,
        "lafid.policy": ", ".join(_policies(dataset_version, lake)) or "none recorded",
        COMMIT_TAG: git_commit(),
        "lafid.preset": chosen.name,
        "lafid.seed": str(chosen.train.seed),
        "dagster.run_id": run_id,
    }


def _policies(dataset_version: str, lake: Lake) -> list[str]:
    """Names of the policies that decided which clips are in the version, sorted."""
    sql = f"SELECT decided_by FROM {DATASET_VERSIONS.name} WHERE dataset_version = ?"
    return policies_of(lake.sql(sql, [dataset_version])["decided_by"])
