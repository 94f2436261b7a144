"""The figures that a version must reach before a run points the alias `champion` to it. The bounds are ours.

Belongs here: figures -> findings, and findings -> a verdict: pure functions over frames and records. Not here: measuring
(`evaluation`), what is no figure (`demands`), gathering the evidence (`judgement`), the alias (`promotion`).

A version passes only where every rule does. A rule is undecided where its measure is missing, or was taken on too few persons;
undecided does not pass. A figure that is not a number is refused.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl
from pydantic import Field

from lafid_assets.outcomes import Status
from lafid_assets.release.champion import Rival
from lafid_assets.schemas.registry import NOT_JUDGED, PASSED, PRETRAINED, REFUSED, TINY, UNDECIDED
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.evaluation.bench import Bench
from model.evaluation.statistics import ENOUGH_PERSONS, paired_interval
from model.strict import StrictModel

FLOW_LOSS, PSNR, SIMILARITY = "flow_loss", "first_frame_psnr_db", "pose_binned_similarity"
OF_NO_BENCH = ""
"""`bench_version` of what is measured on cached clips."""
CASE = ("case_id", "seed")


class ReleaseGate(StrictModel):
    """Bounds on measures, and what the model is for."""

    use: str = Field("research", pattern="^(research|commercial)$", description="What licences must allow: research, commercial")
    min_loss_fall: float = Field(
        0.2, ge=0, lt=1, description="Of the tiny base: share by which training lowered the loss on its fixed triples"
    )
    min_test_loss_fall: float = Field(
        0.2,
        lt=1,
        description="Of the tiny base: share by which the flow loss on test persons lies below the loss before training",
    )
    max_test_loss_rise: float = Field(
        0.1,
        ge=0,
        description="Of pretrained bases: share by which the flow loss on test persons may lie above the loss before training, "
        "which is of other clips",
    )
    min_first_frame_psnr_db: float = Field(
        30.0, ge=0, description="Of pretrained bases that are given a first frame: fidelity of the first drawn one"
    )
    min_similarity: float = Field(
        0.0,
        description="Of pretrained bases, without a champion: what the interval of pose_binned_similarity must lie above; 0 is a "
        "stranger, 1 the person",
    )
    margin: float = Field(
        0.02, ge=0, description="Of pretrained bases: how far the interval of the difference to the champion may reach below 0"
    )
    loss_margin: float = Field(
        0.02, ge=0, description="Of the tiny base: share by which the flow loss on test persons may lie above the champion's"
    )
    min_persons: int = Field(ENOUGH_PERSONS, ge=2, description="Test persons without whom an interval decides nothing")


class Finding(NamedTuple):
    """What one rule found: as `judgements` holds it. Figure and bound are None where there is none, or it is not finite."""

    rule: str
    verdict: str
    figure: float | None
    bound: float | None
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """What the rules about figures look at.

    Attributes:
        checkpoint: a row of `fusion_dit`.
        base: what the checkpoint's manifest says of its base.
        evaluation, videos: rows of `model_evaluation` and `evaluated_videos`, of whatever checkpoints.
        bench: that is asked for; None: there is none.
    """

    checkpoint: Mapping[str, Any]
    base: Mapping[str, Any]
    evaluation: pl.DataFrame
    videos: pl.DataFrame
    bench: Bench | None

    @property
    def sha256(self) -> str:
        """Hash of the checkpoint."""
        return str(self.checkpoint["checkpoint_sha256"])

    @property
    def gate(self) -> str:
        """Which rules the checkpoint is judged by."""
        return TINY if self.base["repository"] is None else PRETRAINED

    @property
    def bench_version(self) -> str:
        """The bench's version; empty where there is no bench."""
        return OF_NO_BENCH if self.bench is None else self.bench.version


def verdict_of(findings: Iterable[Finding]) -> str:
    """Refused where one is, else undecided where one is, else passed; never of nothing."""
    verdicts = {finding.verdict for finding in findings} - {NOT_JUDGED}
    if not verdicts:
        return UNDECIDED
    return next((verdict for verdict in (REFUSED, UNDECIDED) if verdict in verdicts), PASSED)


def in_words(findings: Iterable[Finding]) -> str:
    """`passed`, or the sentences of all that kept it from that."""
    kept_back = [finding.sentence for finding in findings if finding.verdict in (REFUSED, UNDECIDED)]
    return "; ".join(kept_back) or PASSED


def figures_found(gate: ReleaseGate, evidence: Evidence, rival: Rival | None) -> list[Finding]:
    """The rules about figures, in the order of the road: training, test persons, first frame, likeness, champion.

    Args:
        rival: that the version must not be worse than; None: there is nobody.
    """
    found = [_evaluated(evidence), _training_loss(gate, evidence), _test_loss(gate, evidence)]
    if evidence.gate == TINY:
        found.append(
            Finding("likeness", NOT_JUDGED, None, None, "likeness is not judged: the tiny base is random and draws noise")
        )
        return found if rival is None else [*found, _no_higher_loss(gate, evidence, rival)]
    if evidence.base["layout"] in FIRST_FRAME_LAYOUTS:
        found.append(_first_frame(gate, evidence))
    return [*found, _above_strangers(gate, evidence) if rival is None else _no_worse(gate, evidence, rival)]


def _evaluated(evidence: Evidence) -> Finding:
    rule, sha256 = "evaluated", evidence.sha256
    if evidence.bench is None:
        return Finding(rule, UNDECIDED, None, None, "there is no bench: materialize lafid_bench and model_evaluation")
    bench = f"bench {evidence.bench.name} {evidence.bench.version[:12]}"
    own = evidence.evaluation.filter(checkpoint_sha256=sha256)
    if own.filter(bench_version=evidence.bench.version).is_empty():
        others = sorted({*evidence.evaluation["checkpoint_sha256"]} - {sha256})
        of = f", only of {', '.join(name[:12] for name in others)}" if own.is_empty() and others else ""
        said = f"no evaluation of checkpoint {sha256[:12]} on {bench}{of}: materialize model_evaluation"
        return Finding(rule, UNDECIDED, None, None, said)
    return Finding(rule, PASSED, None, None, f"checkpoint {sha256[:12]} was evaluated on {bench}")


def _training_loss(gate: ReleaseGate, evidence: Evidence) -> Finding:
    before, after = evidence.checkpoint["loss_before"], evidence.checkpoint["loss_after"]
    bound = (1 - gate.min_loss_fall) * before if evidence.gate == TINY else before
    below = f", {gate.min_loss_fall:.0%} less" if evidence.gate == TINY else ""
    asked = f"at most {_short(bound)}{below}"
    return _within(
        "training_loss", after, bound, f"the loss on the fixed triples was {_short(before)} and is {_short(after)}", asked
    )


def _test_loss(gate: ReleaseGate, evidence: Evidence) -> Finding:
    rule = "test_loss"
    before = evidence.checkpoint["loss_before"]
    bound = before * (1 - gate.min_test_loss_fall if evidence.gate == TINY else 1 + gate.max_test_loss_rise)
    row = _row(evidence, evidence.sha256, FLOW_LOSS)
    if (lacking := _lacking(rule, row, "the flow loss on test persons", bound)) is not None:
        return lacking
    said = f"the flow loss on test persons is {_short(row['value'])}"
    return _within(rule, row["value"], bound, said, f"at most {_short(bound)}, measured by the loss before training")


def _first_frame(gate: ReleaseGate, evidence: Evidence) -> Finding:
    rule, bound = "first_frame", gate.min_first_frame_psnr_db
    row = _row(evidence, evidence.sha256, PSNR, evidence.bench_version)
    if (lacking := _lacking(rule, row, "the first frame's fidelity", bound)) is not None:
        return lacking
    said = f"the first drawn frame is {row['value']:.1f} dB from the given one"
    return _within(rule, row["value"], bound, said, f"at least {bound:g} dB", at_least=True)


def _above_strangers(gate: ReleaseGate, evidence: Evidence) -> Finding:
    rule, bound = "likeness", gate.min_similarity
    row = _row(evidence, evidence.sha256, SIMILARITY, evidence.bench_version)
    if (lacking := _lacking(rule, row, SIMILARITY, bound)) is not None:
        return lacking
    if not all(math.isfinite(row[name]) for name in ("value", "low", "high") if row[name] is not None):
        return _no_number(rule, bound, SIMILARITY)
    said = f"{SIMILARITY} is {_interval(row['value'], row['low'], row['high'])} over {row['persons']} persons"
    if few := _too_few(gate, row["persons"], row["low"]):
        return Finding(rule, UNDECIDED, row["value"], bound, f"{said}: {few}")
    if row["low"] > bound:
        return Finding(rule, PASSED, row["low"], bound, f"{said}, above {bound:g}")
    if row["high"] <= bound:
        return Finding(rule, REFUSED, row["high"], bound, f"{said}, not above {bound:g}: those are strangers")
    return Finding(rule, UNDECIDED, row["low"], bound, f"{said}: whether it lies above {bound:g} cannot be told")


def _no_worse(gate: ReleaseGate, evidence: Evidence, rival: Rival) -> Finding:
    """By the interval of ours minus the champion's, pair by pair.

    Wholly above -margin: no worse. Wholly below 0, and not that: worse. Anything else cannot be told.
    """
    rule, bound, than = "no_worse", -gate.margin, _named(rival)
    on_bench = evidence.videos.filter(bench_version=evidence.bench_version)
    own = on_bench.filter(checkpoint_sha256=evidence.sha256)
    its = on_bench.filter(checkpoint_sha256=rival.checkpoint_sha256)
    for videos, whose in ((own, "this version"), (its, than)):
        if videos.is_empty():
            return Finding(rule, UNDECIDED, None, bound, f"no video of {whose} on the bench: materialize model_evaluation")
    for videos, others, whose in ((own, its, "this version"), (its, own, than)):
        if (missing := _first_missing(videos, others, whose)) is not None:
            return Finding(rule, UNDECIDED, None, bound, missing)
    pairs = own.join(its.select(*CASE, theirs=SIMILARITY), on=CASE).sort(CASE)
    if not pairs.select(pl.all_horizontal(pl.col(SIMILARITY, "theirs").is_finite().all())).item():
        return _no_number(rule, bound, SIMILARITY)
    found = paired_interval(pairs[SIMILARITY].to_list(), pairs["theirs"].to_list(), pairs["identity_id"].to_list())
    said = (
        f"{SIMILARITY} less that of {than} is {_interval(found.value, found.low, found.high)} over {found.persons} persons and "
        f"{found.videos} pairs of videos"
    )
    if found.low is None or found.high is None or found.persons < gate.min_persons:
        return Finding(rule, UNDECIDED, found.value, bound, f"{said}: {_too_few(gate, found.persons, found.low)}")
    if found.low > bound:
        return Finding(rule, PASSED, found.low, bound, f"{said}: no worse, by more than {gate.margin:g}")
    if found.high < 0:
        return Finding(rule, REFUSED, found.high, bound, f"{said}: it is worse")
    return Finding(rule, UNDECIDED, found.low, bound, f"{said}: whether it is worse by {gate.margin:g} cannot be told")


def _no_higher_loss(gate: ReleaseGate, evidence: Evidence, rival: Rival) -> Finding:
    rule, than = "no_worse", _named(rival)
    row = _row(evidence, rival.checkpoint_sha256, FLOW_LOSS)
    own = _row(evidence, evidence.sha256, FLOW_LOSS)
    for found, whose in ((own, "this version"), (row, than)):
        if (lacking := _lacking(rule, found, f"the flow loss on test persons of {whose}", None)) is not None:
            return lacking
        if not math.isfinite(found["value"]):
            return _no_number(rule, None, f"the flow loss of {whose}")
    bound = row["value"] * (1 + gate.loss_margin)
    said = f"the flow loss on test persons is {_short(own['value'])}, that of {than} {_short(row['value'])}"
    return _within(rule, own["value"], bound, said, f"at most {_short(bound)}")


def _named(rival: Rival) -> str:
    return f"{rival.alias} version {rival.version.version}"


def _row(evidence: Evidence, checkpoint_sha256: str, metric: str, bench_version: str = OF_NO_BENCH) -> Any:
    """The row of the test split, as a mapping; None: it is not there."""
    known = {"checkpoint_sha256": checkpoint_sha256, "bench_version": bench_version}
    found = evidence.evaluation.filter(**known, split="test", metric=metric)
    return found.row(0, named=True) if found.height else None


def _first_missing(videos: pl.DataFrame, others: pl.DataFrame, whose: str) -> str | None:
    """What keeps a pair apart: the case that one of the two did not draw, or of which it has no measure, and why."""
    undrawn = others.join(videos, on=CASE, how="anti").sort(CASE)
    if undrawn.height:
        return f"{whose} has not drawn case {undrawn['case_id'][0]}: materialize model_evaluation"
    unmeasured = videos.filter(pl.col(SIMILARITY).is_null()).sort(CASE)
    if unmeasured.is_empty():
        return None
    row = unmeasured.row(0, named=True)
    told = {said["measure"]: said["reason"] for said in row["absent"] or ()}
    why = row["detail"] if row["status"] != Status.OK else told.get(SIMILARITY)
    return f"{SIMILARITY} of clip {row['clip_id']} by {whose} is missing: {why or 'nobody says why'}"


def _lacking(rule: str, row: Mapping[str, Any] | None, what: str, bound: float | None) -> Finding | None:
    """A finding where there is no measure to judge; None where there is one."""
    if row is None:
        return Finding(rule, UNDECIDED, None, bound, f"{what} was not measured: materialize model_evaluation")
    if row["value"] is None:
        return Finding(rule, UNDECIDED, None, bound, f"{what} is missing: {row['absent'] or 'nobody says why'}")
    return None


def _within(rule: str, figure: float, bound: float, said: str, asked: str, *, at_least: bool = False) -> Finding:
    if not (math.isfinite(figure) and math.isfinite(bound)):
        return _no_number(rule, bound, said)
    kept = figure >= bound if at_least else figure <= bound
    return Finding(rule, PASSED if kept else REFUSED, figure, bound, f"{said}, {asked}" if kept else f"{said}, not {asked}")


def _no_number(rule: str, bound: float | None, what: str) -> Finding:
    known = bound if bound is not None and math.isfinite(bound) else None
    return Finding(rule, REFUSED, None, known, f"{what}: that is not a finite number")


def _too_few(gate: ReleaseGate, persons: int, low: float | None) -> str:
    """Why an interval decides nothing; empty where it may."""
    return f"too few persons, at least {gate.min_persons} decide" if low is None or persons < gate.min_persons else ""


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    shown = "unknown" if value is None else f"{value:.3f}"
    return shown if low is None or high is None else f"{shown} ({low:.3f} to {high:.3f})"


def _short(value: float) -> str:
    return f"{value:.4f}"
