"""`face_info`, written with `face_embeddings`, `face_frames`, `picture_hashes`, `shot_boundaries`, `face_clips`, `recordings` and
`pieces` in one transaction a shard.

Belongs here: the asset. Not here: running a shard's clips (`shard_analysis`), looking at one (`clip_analysis`).
"""

import logging
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from lafid_assets.faces.clip_analysis import AnalysisSettings
from lafid_assets.faces.clip_record import CODE_VERSION, Engine, margins_row
from lafid_assets.faces.shard_analysis import (
    CLIP_COLUMNS,
    TABLES,
    ShardRecipe,
    analyse_shard,
    over_budget,
    waiting_or_broken,
    written_before,
)
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.locate import require_located
from lafid_assets.ingest.tombstones import Tombstones
from lafid_assets.schemas import CLIPS, FACE_CLIPS, FACE_INFO, PIECES, POLICY_SETTINGS
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Finding, Frames, Work
from resources.face_engine import chosen_engine, engine_reason, face_engine_info
from resources.lake.lake import Lake
from resources.leases.leases import Lease
from resources.store.file_store import FileStore
from resources.store.ledger import Ledger

ERROR_BUDGET = dg.AssetCheckSpec(
    "error_budget",
    asset=FACE_INFO.name,
    blocking=True,
    description="No more clips failed, here or in raw_clips, of those that were tried than the budget allows; all is written.",
)
LOGGER = logging.getLogger("lafid.faces")


class LimitsConfig(dg.Config, ShardLimits):
    """What the analysis may cost."""


class FaceInfoConfig(dg.Config, AnalysisSettings):
    """How the clips are looked at."""

    limits: LimitsConfig = Field(default_factory=LimitsConfig)


def _recipe(config: FaceInfoConfig) -> ShardRecipe:
    settings = AnalysisSettings(**config.model_dump(exclude={"limits"}))
    choice = settings.engine_choice
    engine = Engine(face_engine_info(choice), engine_reason(choice))
    return ShardRecipe(settings, ShardLimits(**config.limits.model_dump()), engine)


def _facts(config: FaceInfoConfig) -> dict[str, Any]:
    recipe = _recipe(config)
    return {"settings": recipe.settings.model_dump(), "engine": [recipe.engine.info.fingerprint, recipe.engine.reason]}


def _unsettled(config: FaceInfoConfig) -> str:
    recipe = _recipe(config)
    return waiting_or_broken(recipe.prints, recipe.limits)


STEP = Step(
    writes=(*TABLES, POLICY_SETTINGS),
    reads=(CLIPS.name,),
    group="curation",
    code_version=CODE_VERSION,
    facts=_facts,
    not_deciding=frozenset({"limits"}),
    chosen=lambda config: chosen_engine(config.engine_choice),
    unsettled=_unsettled,
    later_checks={ERROR_BUDGET.name: ERROR_BUDGET},
    opens_videos=True,
)


@STEP.as_asset(deps=["raw_clips"], pool="cpu")
def face_info(
    context: dg.AssetExecutionContext, config: FaceInfoConfig, lake: dg.ResourceParam[Lake], store: dg.ResourceParam[FileStore]
) -> dg.MaterializeResult:
    """Every face in every sampled frame: its box, landmarks, rotation and sharpness, as scores without any decision.

    The face policy, identity, references and training's face tracks are made of it; it costs most, and no threshold moves it.
    """
    recipe = _recipe(config)
    info = recipe.engine.info
    LOGGER.info("face engine: %s %s (%s)", info.name, info.version, recipe.engine.reason)
    ledgers: dict[str, Ledger] = {}
    clips_of: dict[str, list[str]] = {}

    def ledger(shard: str, lease: Lease) -> Ledger:
        ledgers[shard] = Ledger(store, FACE_INFO.name, shard, recipe.prints.measures, lease)
        return ledgers[shard]

    def compute(shard: str) -> Frames:
        with lake.snapshot() as reader:
            clips, before = reader.read(CLIPS.name, shard, CLIP_COLUMNS), written_before(reader, shard)
        reach = partial(require_located, lake, shard)
        frames = analyse_shard(clips, recipe, ledgers[shard], reach, before, Tombstones(store))
        clips_of[shard] = [*clips["clip_id"], *frames[PIECES.name]["clip_id"]]
        return {**frames, POLICY_SETTINGS.name: margins_row(recipe.settings)[1]}

    def findings(shard: str, frames: Frames) -> dict[str, Finding]:
        told = over_budget(frames[FACE_CLIPS.name], lake.read(CLIPS.name, shard, CLIP_COLUMNS), recipe.limits)
        return {ERROR_BUDGET.name: Finding(1, told) if told else Finding(0, "kept")}

    work = Work(
        compute,
        clips_in=clips_of.__getitem__,
        findings=findings,
        metadata=lambda shard, frames: {"engine": f"{info.name} {info.version}", "engine_licence": info.licence},
        ledger=ledger,
    )
    return STEP.materialize(context, config, lake, work)
