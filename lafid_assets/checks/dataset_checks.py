"""The checks that warn, as Dagster shows them: on `lafid_dataset`, after every refresh, and whenever somebody asks for them.

Belongs here: reading what a check judges, and its name in the UI. Not here: judging (beside this module), checks that block (the
steps' own contracts).
"""

from collections.abc import Callable
from typing import NamedTuple

import dagster as dg
import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.coverage import expression_coverage, kept_clips_by_yaw, kept_clips_that_change, pose_coverage
from lafid_assets.checks.drift import clips_new_in, keep_rate_drift
from lafid_assets.checks.errors import error_share
from lafid_assets.checks.judged import Judged, nothing_to_judge
from lafid_assets.checks.waiting import freshness, settings_differ, what_waits
from lafid_assets.dataset.refusals import mixed
from lafid_assets.dataset.versions import Facts, funnel_of, known_versions, standing_version
from lafid_assets.jobs import DATASET, PER_SHARD
from lafid_assets.lafid_toml.settings_check import deciding, differing, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.policy_settings import all_settings
from lafid_assets.schemas import CLIP_FILES, LAFID_DATASET
from lafid_assets.steps.curation_steps import configured
from resources.lake.lake import Lake
from resources.lake.reader import Reader
from resources.secrets import without_secrets
from resources.settings import Settings


class Asked(NamedTuple):
    """What a check may look at.

    Attributes:
        reader: one moment of the lake.
        standing: the version that the dataset holds.
        file: the home's `lafid.toml`.
    """

    reader: Reader
    standing: Facts
    file: SettingsFile

    @property
    def bounds(self) -> CheckBounds:
        """When checks warn: `[checks]` of `lafid.toml`."""
        return self.file.general.checks


def _keep_rate_drift(asked: Asked) -> Judged:
    """The dataset keeps about as many of its clips, and of its new ones, as the last versions did."""
    new = clips_new_in(asked.reader, asked.standing["number"])
    return keep_rate_drift(known_versions(asked.reader), asked.standing, new, asked.bounds)


def _pose_coverage(asked: Asked) -> Judged:
    """Enough of the kept clips show the face in each bin of yaw."""
    return pose_coverage(kept_clips_by_yaw(asked.reader), asked.bounds)


def _expression_coverage(asked: Asked) -> Judged:
    """The expression of the face changes in enough of the kept clips."""
    return expression_coverage(kept_clips_that_change(asked.reader), asked.bounds)


def _error_share(asked: Asked) -> Judged:
    """Few clips ended as error or timeout, in all and in each step."""
    return error_share(funnel_of(asked.standing), asked.bounds)


def _freshness(asked: Asked) -> Judged:
    """No new content waits for longer than it may for the tables that are made of it."""
    return freshness(_what_waits(asked), (*PER_SHARD, *DATASET), asked.bounds)


def _settings_differ(asked: Asked) -> Judged:
    """All shards, and the dataset, are decided by what `lafid.toml` says now."""
    before = all_settings(asked.reader).get(asked.standing["settings_sha256"])
    lines = [] if before is None else differing(before, deciding(ops_of(asked.file, {})))
    return settings_differ(lines, mixed(asked.reader), _what_waits(asked))


def _what_waits(asked: Asked) -> pl.DataFrame:
    told = ops_of(asked.file, {})
    shards = [shard for _, shard in asked.reader.stamps([CLIP_FILES.name])]
    return what_waits(asked.reader, configured(PER_SHARD, told), configured(DATASET, told), shards)


def _judged(judge: Callable[[Asked], Judged], lake: Lake, settings: Settings) -> Judged:
    """A home without a dataset has nothing to judge; a `lafid.toml` that cannot be used, or names what is not there, is worth a
    look, and stops nothing."""
    if not lake.is_there():
        return nothing_to_judge("nothing has been curated yet")
    with lake.snapshot(all_cores=True) as reader:
        if (standing := standing_version(reader)) is None:
            return nothing_to_judge("no dataset has been made yet")
        try:
            return judge(Asked(reader, standing, SettingsFile.of(settings.home)))
        except (ValueError, OSError, LookupError) as error:
            return Judged(False, without_secrets(str(error)), {})


def _check(judge: Callable[[Asked], Judged]) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=LAFID_DATASET.name, name=judge.__name__.strip("_"), description=judge.__doc__)
    def check(lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
        passed, said, figures = _judged(judge, lake, settings)
        warns = dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(passed=passed, severity=warns, description=said, metadata={"said": said, **figures})

    return check


CHECKS = [
    _check(judge)
    for judge in (_keep_rate_drift, _pose_coverage, _expression_coverage, _error_share, _freshness, _settings_differ)
]
"""Severity WARN, every one: what they find is for a person to look at, and stops no run."""

judge_dataset = dg.define_asset_job(
    "judge_dataset",
    selection=dg.AssetSelection.checks(*CHECKS),
    description="The checks that warn, without a refresh: what waits for one grows older while nothing runs.",
)
