"""Materializing assets from the command line: through Dagster, on the same instance that the UI shows.

Belongs here: runs, their order and what came of them. Not here: what an asset computes, what the screen looks like (`display`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from lafid_assets.cli.display import CONSOLE, show_missing, working
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.definitions import build_defs, build_resources
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.clip_list import restrict_to
from lafid_assets.ingest.openhumanvid import list_clips
from lafid_assets.ingest.shards import register_clips
from lafid_assets.jobs import DATASET, PER_SHARD
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.speech.chat_endpoint import EndpointSettings
from resources.face_engine import EngineChoice
from resources.settings import Settings

MISSING_CLIPS = "missing_clips.csv"
ENDPOINTS = ("caption_llm_", "caption_frames_model_")
"""How metadata begin that say what asking an endpoint cost."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailed(RuntimeError):
    """A Dagster run failed; the message names the asset, the cause and where to read more."""


@dataclass
class Tally:
    """How many partitions of assets were computed and how many were up to date."""

    computed: list[str] = field(default_factory=list)
    up_to_date: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CurationChoices:
    """What a curation may be told.

    Attributes:
        engine: which engine looks at faces.
        scan: whether hopeless clips are dropped after a few looks.
        policy: what a clip's faces must be like.
        transcripts: file or folder with transcripts that were made elsewhere.
        caption_llm: the endpoint that refines captions; rules do where there is none.
        caption_frames: the endpoint that writes captions from frames for clips without one.
        error_budget: share of a shard's clips that may fail; more fail the shard, after it was written.
    """

    engine: EngineChoice = field(default_factory=EngineChoice)
    scan: bool = True
    policy: FacePolicy = field(default_factory=FacePolicy)
    transcripts: Path | None = None
    caption_llm: EndpointSettings | None = None
    caption_frames: EndpointSettings | None = None
    error_budget: float = ShardLimits().error_budget

    @property
    def ops(self) -> dict[str, Any]:
        """The same as Dagster's run config of the per-shard assets."""
        engine = self.engine.model_dump()
        heard = {"transcripts": str(self.transcripts.resolve())} if self.transcripts else {}
        endpoints = {"caption_llm": self.caption_llm, "caption_frames_model": self.caption_frames}
        asked = {name: endpoint.model_dump() for name, endpoint in endpoints.items() if endpoint is not None}
        return {
            "face_info": {"config": engine | {"scan": self.scan, "limits": {"error_budget": self.error_budget}}},
            "pose_filtered_clips": {"config": self.policy.model_dump()},
            "speech_info": {"config": engine | heard},
            "speech_tagged_clips": {"config": asked},
        }


class Materializer:
    """Runs assets of an installation in this process, recorded in its Dagster instance."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tally = Tally()
        self.job = build_defs(settings).resolve_implicit_global_asset_job_def()
        self.instance = dg.DagsterInstance.get()

    def ingest(self, folder: Path, clips_per_shard: int, only: Path | None = None) -> list[str]:
        """Put clips of `folder` that are new into shards; known ones get what the tables now say of them.

        Args:
            only: a list of clips; others are not taken in, and those that are not there are told.

        Returns:
            all shards of the installation.
        """
        store = build_resources(self.settings)["store"]
        clips = list_clips(folder.resolve())
        if only is not None:
            files, missing = restrict_to(clips.rename({"clip_id": "released_id"}), only)
            clips = files.rename({"released_id": "clip_id"})
            show_missing(only, clips.height, missing, self.settings.home / MISSING_CLIPS)
        register_clips(store, clips, clips_per_shard, self.settings.shards_lock)
        shards: list[str] = store.partitions("shard_manifest")
        self.instance.add_dynamic_partitions(str(CLIP_SHARDS.name), shards)
        return shards

    def curate(self, shards: Sequence[str], choices: CurationChoices) -> None:
        """Every shard through the per-clip assets, then the dataset over all of them. A failing shard does not stop the others.

        Raises:
            RunFailed: after everything that could be done was done.
        """
        failures = []
        for number, shard in enumerate(shards, 1):
            try:
                label = f"curating {shard} ({number} of {len(shards)})"
                self.run(PER_SHARD, label, partition=shard, ops=choices.ops)
            except RunFailed as error:
                failures.append(str(error))
        if failures:
            raise RunFailed("; ".join(failures))
        self.run(DATASET, "putting the dataset together")

    def run(self, assets: Sequence[str], label: str, *, partition: str | None = None, ops: dict[str, Any] | None = None) -> None:
        """One Dagster run of the named assets.

        Raises:
            RunFailed: an asset or a blocking check failed.
        """
        with working(label):
            result = self.job.execute_in_process(
                instance=self.instance,
                asset_selection=[dg.AssetKey(name) for name in assets],
                partition_key=partition,
                run_config=QUIET | {"ops": ops or {}},
                raise_on_error=False,
                tags={"lafid/by": "command line"},
            )
        for event in result.get_asset_materialization_events():
            materialized = event.step_materialization_data.materialization
            name = " ".join([materialized.asset_key.to_user_string(), partition or ""]).strip()
            computed = materialized.metadata["computed"].value
            (self.tally.computed if computed else self.tally.up_to_date).append(name)
            bill = {key: value.value for key, value in materialized.metadata.items() if key.startswith(ENDPOINTS)}
            if bill:
                CONSOLE.print("; ".join(f"{key} {value}" for key, value in bill.items()), soft_wrap=True, markup=False)
        if not result.success:
            raise RunFailed(_why(result, partition))
        CONSOLE.print(f"[green]done[/] {label}")


def open_materializer(settings: Settings) -> Materializer:
    """Prepare the home and open its Dagster instance, without Dagster's own start-up chatter."""
    settings.prepare()
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    return Materializer(settings)


def _why(result: dg.ExecuteInProcessResult, partition: str | None) -> str:
    where = f" ({partition})" if partition else ""
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            first = evaluation.metadata["first"].value
            return f"{evaluation.asset_key.to_user_string()}{where} broke its check {evaluation.check_name}: {first}"
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        # Of a trainer's failure the first line says what happened; the lines of its log that follow are in the run's own log.
        message = " ".join(error.message.strip().splitlines()[0].split()) if error and error.message.strip() else "no message"
        return f"{event.step_key}{where} failed: {message} [run {result.run_id[:8]}; `lafid ui` shows its log]"
    return f"run {result.run_id[:8]}{where} failed: `lafid ui` shows its log"
