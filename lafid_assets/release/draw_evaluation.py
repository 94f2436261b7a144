"""`draw_evaluation`: the videos of an evaluation, drawn and measured by many runs, a share each.

Belongs here: the job. Not here: what is asked of whom (`evaluation_plan`), measuring (`evaluation`), the tables
(`model_evaluation`, which finds what was drawn, and draws itself what was not).
"""

import logging
from collections.abc import Mapping
from typing import Any

import dagster as dg

from lafid_assets.release.champion import rival_of
from lafid_assets.release.evaluation import EvaluationFailed, draw
from lafid_assets.release.evaluation_plan import Plan
from lafid_assets.release.model_evaluation import ModelEvaluationConfig
from lafid_assets.release.model_files import ModelMissing
from lafid_assets.runs.run_failure import told_in_one_line
from lafid_assets.runs.run_settings import told_to
from lafid_assets.schemas import FUSION_DIT, MODEL_EVALUATION
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking, TrackingUnreachable

LOGGER = logging.getLogger("lafid.release")
NAME = "draw_evaluation"
SHARES = dg.StaticPartitionsDefinition([f"{number:02d}" for number in range(1, 17)])
"""More than most clusters have GPUs for it, that they end together; few enough that loading the model is little of each."""


@dg.op(pool="gpu")
def draw_share(
    context: dg.OpExecutionContext,
    lake: dg.ResourceParam[Lake],
    tracking: dg.ResourceParam[Tracking],
    settings: dg.ResourceParam[Settings],
) -> None:
    """A share of what `lafid.toml` has `model_evaluation` draw."""
    with told_in_one_line(context):
        told = told_to(context, settings, [MODEL_EVALUATION.name]).get(MODEL_EVALUATION.name, {}).get("config", {})
        with lake.leases.held(f"{NAME}/{context.partition_key}"):
            _draw(SHARES.get_partition_keys().index(context.partition_key), ModelEvaluationConfig(**told), lake, tracking)


def draw_evaluation(tags: Mapping[str, Any]) -> dg.JobDefinition:
    """
    Args:
        tags: of its runs: what brings each to a machine with a GPU.
    """
    description = (
        "What model_evaluation draws and measures, by as many machines as have a GPU: a share a run. Materialize "
        "model_evaluation afterwards. One machine needs none of it."
    )

    @dg.job(name=NAME, partitions_def=SHARES, description=description, tags=tags)
    def job() -> None:
        draw_share()

    return job


def _draw(number: int, config: ModelEvaluationConfig, lake: Lake, tracking: Tracking) -> None:
    checkpoint = lake.read(FUSION_DIT.name).row(0, named=True)
    plan = Plan.of(checkpoint, config, lake).share(number, SHARES.get_num_partitions())
    if not plan.cases and not plan.cached:
        return
    if failed := plan.done(draw, plan.subject, lake.store):
        LOGGER.warning("%d of the share's tasks failed: model_evaluation tries them again", failed)
    try:
        rival = rival_of(checkpoint["checkpoint_sha256"], config.model_name, tracking) if plan.bench else None
        if rival is not None:
            plan.done(draw, plan.rival(rival, lake, tracking), lake.store)
    except (TrackingUnreachable, ModelMissing, EvaluationFailed, ValueError, OSError) as error:
        LOGGER.warning("the champion is left to model_evaluation: %s", error)
