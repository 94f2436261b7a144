"""`model_evaluation`: the checkpoint's measures on held-out identities.

Belongs here: the asset. Not here: measuring (`evaluation`), what is enough (`gates`).
"""

from typing import Any

import dagster as dg
import polars as pl

from lafid_assets.release.evaluation import evaluate
from lafid_assets.schemas import FUSION_DIT, LAFID_DATASET, MODEL_EVALUATION, TRAINING_LATENTS
from lafid_assets.step import Step
from lafid_assets.step_run import Frames
from lafid_assets.training.cached_clips import read_cached, write_list
from resources.lake import Lake

STEP = Step(
    writes=(MODEL_EVALUATION,),
    reads=(FUSION_DIT.name, LAFID_DATASET.name, TRAINING_LATENTS.name),
    group="release",
    code_version="3",
    kinds=frozenset({"pytorch"}),
)


class ModelEvaluationConfig(dg.Config):
    """Nothing can be chosen here."""


@dg.asset(**STEP.arguments(deps=["fusion_dit", "lafid_dataset"], pool="gpu"))
def model_evaluation(
    context: dg.AssetExecutionContext,
    config: ModelEvaluationConfig,
    lake: dg.ResourceParam[Lake],
) -> dg.MaterializeResult:
    """Flow loss, first-frame fidelity and likeness on persons that the checkpoint never saw."""
    return STEP.materialize(
        context, config, lake, lambda _: {MODEL_EVALUATION.name: _evaluate(lake)}, metadata=lambda _, frames: _describe(frames)
    )


def _evaluate(lake: Lake) -> pl.DataFrame:
    with lake.snapshot() as reader:
        checkpoint, dataset = reader.read(FUSION_DIT.name), reader.read(LAFID_DATASET.name)
        latents = read_cached(reader)
    clip_list = write_list(latents, lake.store)
    return evaluate(checkpoint.row(0, named=True), dataset, latents, clip_list, lake.store.local_path(""))


def _describe(frames: Frames) -> dict[str, Any]:
    rows = frames[MODEL_EVALUATION.name].iter_rows(named=True)
    return {f"{row['split']}_{row['metric']}": "NULL" if row["value"] is None else row["value"] for row in rows}
