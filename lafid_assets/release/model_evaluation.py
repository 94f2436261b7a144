"""`model_evaluation`: the checkpoint's measures on held-out identities.

Belongs here: the asset. Not here: measuring (`evaluation`), what is enough (`gates`).
"""

from typing import Any

import dagster as dg

from lafid_assets.release.evaluation import evaluate
from lafid_assets.schemas import FUSION_DIT, LAFID_DATASET, MODEL_EVALUATION, TRAINING_LATENTS
from lafid_assets.step import Frames, Step
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(
    writes=(MODEL_EVALUATION,),
    reads=(FUSION_DIT.name, LAFID_DATASET.name, TRAINING_LATENTS.name),
    group="release",
    code_version="1",
    kinds=frozenset({"pytorch"}),
)


class ModelEvaluationConfig(dg.Config):
    """Nothing can be chosen here."""


@dg.asset(**STEP.arguments(deps=["fusion_dit", "lafid_dataset"], pool="gpu"))
def model_evaluation(
    context: dg.AssetExecutionContext,
    config: ModelEvaluationConfig,
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """Flow loss, first-frame fidelity and identity similarity on persons that the checkpoint never saw."""
    return STEP.materialize(
        context,
        config,
        store,
        warehouse,
        lambda: {MODEL_EVALUATION.name: _evaluate(store)},
        metadata=_describe,
    )


def _evaluate(store: ShardStore) -> Any:
    return evaluate(
        store.read_table(FUSION_DIT.name).row(0, named=True),
        store.read_table(LAFID_DATASET.name),
        store.read_table(TRAINING_LATENTS.name),
        store.local_path(""),
    )


def _describe(frames: Frames) -> dict[str, Any]:
    rows = frames[MODEL_EVALUATION.name].iter_rows(named=True)
    return {f"{row['split']}_{row['metric']}": "NULL" if row["value"] is None else row["value"] for row in rows}
