"""Keep, error and audit rates of all shards together, step by step.

Belongs here: the funnel of a version -> rates. Not here: the funnel (`dataset.funnel`), one shard (`shard_rates`), whether a rate
is worrying (beside this module).
"""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from lafid_assets.checks.shard_rates import FAILED, rates
from lafid_assets.dataset.funnel import STEPS
from lafid_assets.dataset.versions import funnel_of, standing_version
from lafid_assets.outcomes import KEPT, Status
from lafid_assets.schemas import FACE_CLIPS, FACE_INFO, LAFID_DATASET, POSE_FILTERED_CLIPS
from resources.lake.reader import Reader


class StepRates(NamedTuple):
    """One step of the funnel.

    Attributes:
        asset: the asset that decides there.
        clips_in: how many clips all steps before it passed.
        passed, failed: how many of them passed it, and ended there as error or timeout.
    """

    asset: str
    clips_in: int
    passed: int
    failed: int

    @property
    def rates(self) -> dict[str, float]:
        """`keep_rate` and `error_rate` of the clips that came in; nothing where none came."""
        return rates(self.clips_in, self.passed, self.failed)

    @property
    def in_all(self) -> dict[str, float | int]:
        """What is plotted beside the figures of single shards, under names of its own."""
        return {"clips_in_all": self.clips_in, **{f"{name}_in_all": rate for name, rate in self.rates.items()}}


def figures_in_all(reader: Reader) -> dict[str, dict[str, float | int]]:
    """Asset to its figures over all shards, of the version that the dataset holds; the dataset's own are those of all steps."""
    standing = standing_version(reader)
    if standing is None:
        return {LAFID_DATASET.name: {}}
    funnel = funnel_of(standing)
    figures = {step.asset: step.in_all for step in (*step_rates(funnel), whole_rates(funnel))}
    audited = {f"{name}_in_all": rate for name, rate in audit_rate(reader).items()}
    return figures | {POSE_FILTERED_CLIPS.name: figures[POSE_FILTERED_CLIPS.name] | audited}


def step_rates(funnel: pl.DataFrame) -> Iterator[StepRates]:
    """In the order of the steps. `funnel`: `status`, `step`, `reason`, `clips`, as `dataset_versions` has it."""
    left = int(funnel["clips"].sum())
    for step in STEPS:
        ended = funnel.filter(step=step)
        passed = left - int(ended["clips"].sum())
        yield StepRates(FACE_INFO.name if step == FACE_CLIPS.name else step, left, passed, _clips(ended, FAILED))
        left = passed


def whole_rates(funnel: pl.DataFrame) -> StepRates:
    """All steps as one: what came in, what the dataset keeps, what failed anywhere."""
    return StepRates(LAFID_DATASET.name, int(funnel["clips"].sum()), _clips(funnel, (KEPT,)), _clips(funnel, FAILED))


def audit_rate(reader: Reader) -> dict[str, float]:
    """`audit_rate`: of the clips that the scan dropped and that were surveyed all the same, the share that the policy keeps.
    Nothing where none was audited."""
    counted = reader.sql(
        f"""SELECT count(*), count(*) FILTER (keep) FROM {FACE_CLIPS.name} looked JOIN {POSE_FILTERED_CLIPS.name} judged
        USING (shard, clip_id) WHERE looked.audited AND looked.status = '{Status.OK}'"""
    )
    audited, kept = counted.row(0)
    return {"audit_rate": kept / audited} if audited else {}


def _clips(funnel: pl.DataFrame, statuses: tuple[str, ...]) -> int:
    return int(funnel.filter(pl.col("status").is_in(statuses))["clips"].sum())
