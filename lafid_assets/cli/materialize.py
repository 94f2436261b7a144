"""Materializing assets from the command line: through Dagster, on the same instance that the UI shows.

Belongs here: runs, their order and what came of them. Not here: what an asset computes, what the screen looks like (`display`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from rich.text import Text

from lafid_assets.captions.chat_endpoint import EndpointSettings
from lafid_assets.cli.cluster import BY, BY_TAG, Cluster
from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.webserver import Webserver
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.dataset.published import publish
from lafid_assets.definitions import build_defs
from lafid_assets.ingest.locate import home_shards, shards_with_clips_away
from lafid_assets.jobs import DATASET, PER_SHARD
from lafid_assets.lafid_toml.settings_check import in_full, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.lake import open_lake
from lafid_assets.runs.instance import is_cluster
from lafid_assets.runs.run_failure import why_failed
from lafid_assets.schemas import CLIP_FILES
from lafid_assets.steps.curation_steps import configured, copy_is_current, dataset_is_current
from lafid_assets.steps.partitions import CLIP_SHARDS, MOST_SHARDS_PER_RUN, run_tags, runs_of, shards_per_run
from lafid_assets.steps.staleness import stale_shards
from model.wording import first_few
from resources.settings import Settings

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
    """What one curation is told otherwise than `lafid.toml`; None leaves it as it is there.

    Attributes:
        engine, head_pose: lines of `EngineChoice`.
        scan: whether hopeless clips are dropped after a few looks.
        policy: what a clip's faces must be like.
        transcripts: file or folder with transcripts that were made elsewhere.
        caption_llm: the endpoint that refines captions; rules do where there is none.
        caption_frames: the endpoint that writes captions from frames for clips without one.
        error_budget: share of a shard's clips that may fail; more fail the shard, after it was written.
    """

    engine: str | None = None
    head_pose: str | None = None
    scan: bool | None = None
    policy: FacePolicy | None = None
    transcripts: Path | None = None
    caption_llm: EndpointSettings | None = None
    caption_frames: EndpointSettings | None = None
    error_budget: float | None = None

    @property
    def ops(self) -> dict[str, Any]:
        """The choices as Dagster's run config."""
        engine = _named(engine=self.engine, head_pose=self.head_pose)
        budget = _named(error_budget=self.error_budget)
        lines = {
            "face_info": engine | _named(scan=self.scan, limits=budget or None),
            "pose_filtered_clips": {} if self.policy is None else self.policy.model_dump(),
            "speech_info": engine | _named(transcripts=None if self.transcripts is None else str(self.transcripts.resolve())),
            "speech_tagged_clips": {
                name: endpoint.model_dump()
                for name, endpoint in _named(caption_llm=self.caption_llm, caption_frames_model=self.caption_frames).items()
            },
        }
        return {asset: {"config": told} for asset, told in lines.items() if told}


def _named(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


class Materializer:
    """Has assets of an installation computed: in this process, recorded in its Dagster instance, or by the cluster that the
    instance names. What is current starts no run.

    Args:
        here: in this process, whatever the instance names.
    """

    def __init__(self, settings: Settings, *, here: bool = False) -> None:
        self.settings = settings
        self.lake = open_lake(settings)
        self.file = SettingsFile.of(settings.home)
        self.tally = Tally()
        self.instance = dg.DagsterInstance.get()
        self.cluster = (
            Cluster(self.instance, Webserver.from_environment(), self.lake, self._count)
            if is_cluster(self.instance) and not here
            else None
        )

    @cached_property
    def job(self) -> dg.JobDefinition:
        """The job of all assets."""
        return build_defs(self.settings).resolve_implicit_global_asset_job_def()

    def know(self) -> list[str]:
        """Let Dagster know of every shard of the lake, whoever took it in.

        What other homes have computed is current here, too, but only this home's own runs are in its Dagster's records.

        Returns:
            all shards, in Dagster's order.
        """
        name = str(CLIP_SHARDS.name)
        known = list(self.instance.get_dynamic_partitions(name))
        there = {shard for _, shard in self.lake.stamps([CLIP_FILES.name])}
        if new := sorted(there - set(known)):
            self.instance.add_dynamic_partitions(name, new)
        return [*known, *new]

    def curate(self, shards: Sequence[str], choices: CurationChoices) -> None:
        """Shards that are not current through the per-clip assets, and other shards that have clips of their files, then the
        dataset. A failing shard does not stop the others.

        Raises:
            SettingsUnusable: `lafid.toml` or a choice does not fit.
            RunFailed: after everything that could be done was done; the dataset is left as it is.
        """
        told = in_full(ops_of(self.file, choices.ops))  # the same for all runs, should the file change meanwhile
        with self.lake.snapshot() as reader:
            stale = stale_shards(reader, configured(PER_SHARD, told), shards)
            homes = home_shards(reader, shards)
        self._leave(PER_SHARD, [shard for shard in shards if shard not in stale])
        failures = self._failures(PER_SHARD, "curating", told, [*stale], MOST_SHARDS_PER_RUN) if stale else []
        if others := self._stale_homes(shards, homes, told):
            failures += self._failures(PER_SHARD, "curating", told, others, MOST_SHARDS_PER_RUN)
        if failures:
            raise RunFailed("; ".join(failures))
        self.know()
        self.refresh(told)
        if not self.tally.computed:
            CONSOLE.print(f"{len(shards)} shards are current; nothing to do")

    def _stale_homes(self, shards: Sequence[str], before: set[str], told: dict[str, Any]) -> list[str]:
        """The shards, not current, that have clips of these shards' files, or had before these were read; those that would open
        clips in a folder that is not there are told, and left alone.

        Args:
            before: what had them.
        """
        chain = configured(PER_SHARD, told)
        opens_videos = {step.asset for step, _ in chain if step.opens_videos}
        with self.lake.snapshot() as reader:
            if not (homes := before | home_shards(reader, shards)):
                return []
            stale = stale_shards(reader, chain, sorted(homes))
            away = shards_with_clips_away(reader, stale)
        left = [shard for shard, asset in stale.items() if shard in away and asset in opens_videos]
        if left:
            CONSOLE.print(
                f"{first_few(left)} have clips of these files, and others in a folder that is not there: left alone",
                style="yellow",
            )
        return [shard for shard in stale if shard not in left]

    def refresh(self, told: dict[str, Any] | None = None) -> None:
        """The dataset over all shards of the store.

        Args:
            told: what its shards were curated under, which the version names; as in `lafid.toml` when None.

        Raises:
            RunFailed: an asset or a blocking check failed.
        """
        told = in_full(ops_of(self.file, {})) if told is None else told
        if dataset_is_current(self.lake, told) and (self.cluster is not None or copy_is_current(self.lake, self.settings)):
            self._leave(DATASET, [""])
        else:
            self.run_all(DATASET, "putting the dataset together", told)
        if self.cluster is not None and not copy_is_current(self.lake, self.settings):  # the node wrote its own
            publish(self.lake, self.settings.published_path)

    def run_all(
        self, assets: Sequence[str], what: str, ops: Mapping[str, Any], shards: Sequence[str] = (), most: int = 1
    ) -> None:
        """The named assets of these shards, in runs of neighbours: one after the other here, or side by side in the cluster. A
        failing run stops no other.

        Args:
            what: is done, in words.
            most: shards in a run.

        Raises:
            RunFailed: after everything that could be done was done.
            WebserverUnusable: the cluster takes no run.
        """
        if failures := self._failures(assets, what, ops, shards, most):
            raise RunFailed("; ".join(failures))

    def _failures(self, assets: Sequence[str], what: str, ops: Mapping[str, Any], shards: Sequence[str], most: int) -> list[str]:
        """The same; a line for each run that failed."""
        order = self.know() if shards else []
        if self.cluster is None:
            return self._run_here(assets, what, ops, shards, order, most)
        clips = sum(stamp.rows for stamp in self.lake.stamps([CLIP_FILES.name], shards).values())
        return self.cluster.bring(assets, what, ops, shards, order, shards_per_run(len(shards), clips, most))

    def _run_here(
        self, assets: Sequence[str], what: str, ops: Mapping[str, Any], shards: Sequence[str], order: Sequence[str], most: int
    ) -> list[str]:
        done, failures = 0, []
        for run in runs_of(set(shards), order, most) if shards else [[]]:
            done += len(run)
            among = f" {run[0]} to {run[-1]}" if len(run) > 1 else "".join(f" {shard}" for shard in run)
            try:
                self.run(assets, f"{what}{among} ({done} of {len(shards)})" if run else what, partitions=run, ops=ops)
            except RunFailed as error:
                failures.append(str(error))
        return failures

    def run(
        self, assets: Sequence[str], label: str, *, partitions: Sequence[str] = (), ops: Mapping[str, Any] | None = None
    ) -> None:
        """One Dagster run of the named assets in this process.

        Args:
            partitions: shards that follow each other in Dagster's order.

        Raises:
            RunFailed: an asset or a blocking check failed.
        """
        is_single = len(partitions) == 1
        several = run_tags(partitions) if len(partitions) > 1 else {}
        with working(label):
            result = self.job.execute_in_process(
                instance=self.instance,
                asset_selection=[dg.AssetKey(name) for name in assets],
                partition_key=partitions[0] if is_single else None,
                run_config=QUIET | {"ops": dict(ops or {})},
                raise_on_error=False,
                tags={BY_TAG: BY} | several,
            )
        for event in result.get_asset_materialization_events():
            self._count(event.step_materialization_data.materialization)
        if not result.success:
            raise RunFailed(f"{why_failed(self.instance, result.run_id)} [run {result.run_id[:8]}; `lafid ui` shows its log]")
        CONSOLE.print(Text.assemble(("done", "green"), f" {label}"))

    def _count(self, materialized: dg.AssetMaterialization) -> None:
        if "failed" in materialized.metadata:
            return
        name = _name(materialized.asset_key.to_user_string(), materialized.partition)
        (self.tally.computed if materialized.metadata["computed"].value else self.tally.up_to_date).append(name)
        bill = {key: value.value for key, value in materialized.metadata.items() if key.startswith(ENDPOINTS)}
        if bill:
            CONSOLE.print("; ".join(f"{key} {value}" for key, value in bill.items()))

    def _leave(self, assets: Sequence[str], partitions: Sequence[str]) -> None:
        """Count partitions that are current and start no run."""
        self.tally.up_to_date += [_name(asset, partition) for partition in partitions for asset in assets]


def open_materializer(settings: Settings, *, here: bool = False) -> Materializer:
    """Prepare the home and open its Dagster instance, without Dagster's own start-up chatter.

    Args:
        here: compute in this process, though the instance names a cluster.
    """
    settings.prepare()
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    return Materializer(settings, here=here)


def _name(asset: str, partition: str | None) -> str:
    return " ".join([asset, partition or ""]).strip()
