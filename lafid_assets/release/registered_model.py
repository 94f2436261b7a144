"""`registered_model`: the MLflow version, with the alias if the gate opened.

Belongs here: the asset. Not here: packaging (`model.release.package`), bounds (`gates`), tags (`lineage`).
"""

from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.release.gates import PASSED, ReleaseGate, judge
from lafid_assets.release.lineage import lineage_tags
from lafid_assets.schemas import FUSION_DIT, LAFID_DATASET, MODEL_EVALUATION, REGISTERED_MODEL
from lafid_assets.step import Step
from lafid_assets.step_run import Frames
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.presets import preset
from resources.lake import Lake
from resources.tracking import RegisteredVersion, Tracking

STEP = Step(
    writes=(REGISTERED_MODEL,),
    reads=(FUSION_DIT.name, MODEL_EVALUATION.name, LAFID_DATASET.name),
    group="release",
    code_version="2",
    kinds=frozenset({"mlflow"}),
)


class RegisteredModelConfig(dg.Config, ReleaseGate):
    """Where the model goes and what it must reach for the alias."""

    model_name: str = Field("lafid", description="Name in the registry")
    alias: str = Field("champion", description="Alias that a version gets when it passes the gate")


@dg.asset(**STEP.arguments(deps=["fusion_dit", "model_evaluation"]))
def registered_model(
    context: dg.AssetExecutionContext,
    config: RegisteredModelConfig,
    lake: dg.ResourceParam[Lake],
    tracking: dg.ResourceParam[Tracking],
) -> dg.MaterializeResult:
    """The checkpoint in MLflow's registry with measures, lineage and licences; the alias only if the gate opens."""
    return STEP.materialize(
        context,
        config,
        lake,
        lambda _: {REGISTERED_MODEL.name: REGISTERED_MODEL.frame([_register(context.run_id, config, lake, tracking)])},
        settled=lambda _, frames: _in_registry(frames, tracking),
        metadata=lambda _, frames: _describe(frames),
    )


def _register(run_id: str, config: RegisteredModelConfig, lake: Lake, tracking: Tracking) -> dict[str, Any]:
    from model.release.package import register, set_alias

    with lake.snapshot() as reader:
        trained, evaluation, dataset = (reader.read(name) for name in STEP.reads)
    checkpoint = trained.row(0, named=True)
    gate = judge(
        config,
        checkpoint["loss_before"],
        checkpoint["loss_after"],
        evaluation,
        begins_with_picture=preset(checkpoint["preset"]).base.layout in FIRST_FRAME_LAYOUTS,
    )
    version = tracking.find_version(config.model_name, checkpoint["checkpoint_sha256"])
    if version is None:
        models = dataset["model_licences"].explode().drop_nulls().str.split(": ").list.last()
        licences = sorted({*dataset["licence"], *dataset["engine_licence"], *models})
        tags = lineage_tags(checkpoint, licences, run_id) | {"lafid.gate": gate}
        model_uri = _logged_model(checkpoint, evaluation, tags, config.model_name, lake, tracking)
        version = RegisteredVersion(config.model_name, register(model_uri, config.model_name, tags))
    if gate == PASSED:
        set_alias(config.model_name, config.alias, version.version)
    return {
        "model_name": version.name,
        "model_version": version.version,
        "alias": config.alias if gate == PASSED else None,
        "model_uri": version.uri,
        "gate": gate,
        "checkpoint_sha256": checkpoint["checkpoint_sha256"],
        "dataset_version": checkpoint["dataset_version"],
    }


def _logged_model(
    checkpoint: dict[str, Any], evaluation: pl.DataFrame, tags: dict[str, str], name: str, lake: Lake, tracking: Tracking
) -> str:
    """Its address: the one that the training logged, with the measures added; logged now where MLflow was away then."""
    from model.release.package import describe_logged, log_checkpoint

    measures = {f"{r['split']}_{r['metric']}": r["value"] for r in evaluation.iter_rows(named=True) if r["value"] is not None}
    model_id = tracking.find_logged_model(checkpoint["checkpoint_sha256"])
    if model_id is not None:
        return describe_logged(model_id, tags=tags, metrics=measures, step=checkpoint["step"])
    return log_checkpoint(
        lake.store.local_path(checkpoint["checkpoint_path"]),
        lake.store.local_path(checkpoint["base_path"]),
        name=name,
        tags=tags,
        metrics=measures | {name: checkpoint[name] for name in ("loss_before", "loss_after")},
        params={"preset": checkpoint["preset"], "steps": str(checkpoint["steps"])},
    ).model_uri


def _in_registry(frames: Frames, tracking: Tracking) -> bool:
    row = frames[REGISTERED_MODEL.name].row(0, named=True)
    if tracking.find_version(row["model_name"], row["checkpoint_sha256"]) is None:
        return False
    return row["alias"] is None or tracking.version_of_alias(row["model_name"], row["alias"]) is not None


def _describe(frames: Frames) -> dict[str, Any]:
    row = frames[REGISTERED_MODEL.name].row(0, named=True)
    return {name: row[name] or "none" for name in ("model_uri", "alias", "gate", "dataset_version")}
