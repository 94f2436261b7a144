"""`face_info`, written with `face_frames` and `face_clips` in one transaction a shard.

Belongs here: the asset. Not here: running a shard's clips (`shard_analysis`), looking at one (`clip_analysis`).
"""

import logging
from typing import Any

import dagster as dg
from pydantic import Field

from lafid_assets.faces.clip_analysis import AnalysisSettings
from lafid_assets.faces.clip_record import CODE_VERSION, Engine
from lafid_assets.faces.shard_analysis import ShardRecipe, analyse_shard, is_settled, over_budget, written_before
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, RAW_CLIPS
from lafid_assets.step import Step
from resources.face_engine import engine_reason, face_engine_info
from resources.ledger import Ledger
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

STEP = Step(writes=(FACE_INFO, FACE_FRAMES, FACE_CLIPS), reads=(RAW_CLIPS.name,), group="faces", code_version=CODE_VERSION)
ERROR_BUDGET = dg.AssetCheckSpec(
    "error_budget",
    asset=FACE_INFO.name,
    blocking=True,
    description="No more clips failed, here or in raw_clips, of those that were tried than the budget allows; all is written.",
)
BUDGET_KEPT = "kept"
LOGGER = logging.getLogger("lafid.faces")


class LimitsConfig(dg.Config, ShardLimits):
    """What the analysis may cost."""


class FaceInfoConfig(dg.Config, AnalysisSettings):
    """How the clips are looked at."""

    limits: LimitsConfig = Field(default_factory=LimitsConfig)


def _arguments() -> dict[str, Any]:
    arguments = STEP.arguments(deps=["raw_clips"])
    return arguments | {"check_specs": [*arguments["check_specs"], ERROR_BUDGET]}


@dg.asset(**_arguments())
def face_info(
    context: dg.AssetExecutionContext,
    config: FaceInfoConfig,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ShardStore],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult:
    """A row a face a sampled frame: box, landmarks, rotation, embedding, sharpness. Scores only; nothing is decided here."""
    shard = context.partition_key
    clips = store.read_table(RAW_CLIPS.name, shard)
    recipe = _recipe(config)
    info = recipe.engine.info
    LOGGER.info("face engine: %s %s (%s)", info.name, info.version, recipe.engine.reason)
    ledger = Ledger(settings.home / "ledger" / FACE_INFO.name / shard, recipe.prints.measures)
    with ledger.held():
        result = STEP.materialize(
            context,
            recipe.settings,
            store,
            warehouse,
            lambda: analyse_shard(clips, recipe, ledger, written_before(store, shard)),
            clips_in=clips["clip_id"],
            outside=info.fingerprint,
            intact=lambda frames: is_settled(frames[FACE_CLIPS.name], recipe.prints),
            metadata=lambda frames: {
                "engine": f"{info.name} {info.version}",
                "engine_licence": info.licence,
                ERROR_BUDGET.name: over_budget(frames[FACE_CLIPS.name], clips, recipe.limits) or BUDGET_KEPT,
            },
        )
        if all(check.passed for check in result.check_results):
            ledger.clear()
    return _with_budget_checked(result)


def _recipe(config: FaceInfoConfig) -> ShardRecipe:
    settings = AnalysisSettings(**config.model_dump(exclude={"limits"}))
    choice = settings.engine_choice
    engine = Engine(face_engine_info(choice), engine_reason(choice))
    return ShardRecipe(settings, ShardLimits(**config.limits.model_dump()), engine)


def _with_budget_checked(result: dg.MaterializeResult) -> dg.MaterializeResult:
    """The result with one more check, made after the tables are written: a shard that fails by it keeps what it has."""
    told = str((result.metadata or {})[ERROR_BUDGET.name])
    check = dg.AssetCheckResult(
        check_name=ERROR_BUDGET.name,
        passed=told == BUDGET_KEPT,
        metadata={"violations": int(told != BUDGET_KEPT), "first": told},
    )
    return dg.MaterializeResult(metadata=result.metadata, check_results=[*result.check_results, check])
