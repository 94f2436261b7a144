"""Each rule about figures: what passes it, what it refuses, what it leaves undecided."""

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from lafid_assets.release.champion import Rival
from lafid_assets.release.gates import Evidence, Finding, ReleaseGate, figures_found, in_words, verdict_of
from lafid_assets.schemas import EVALUATED_VIDEOS, FUSION_DIT, MODEL_EVALUATION
from resources.tracking import RegisteredVersion

OURS, THEIRS, BENCH = "a" * 64, "b" * 64, "c" * 64
CHAMPION = Rival(RegisteredVersion("lafid", "1"), "champion", THEIRS)
GOOD: Mapping[str, float | None] = {"flow_loss": 0.7, "first_frame_psnr_db": 35.0, "pose_binned_similarity": 0.4}
NAN = math.nan

Judge = Callable[..., dict[str, Finding]]


@pytest.fixture
def judge(row_of: Callable[..., dict[str, Any]]) -> Judge:
    """Rule to its finding, of a checkpoint with these measures."""

    def go(
        measures: Mapping[str, float | None] = GOOD,
        *,
        before: float = 1.0,
        after: float = 0.5,
        gate: str = "pretrained",
        begins_with_picture: bool = True,
        rival: Rival | None = None,
        rival_measures: Mapping[str, float | None] = GOOD,
        videos: list[dict[str, Any]] | None = None,
        bench: str | None = BENCH,
        sha256: str = OURS,
        split: str = "test",
        persons: int = 10,
        half_width: float | None = 0.1,
        absent: str | None = None,
        **bounds: Any,
    ) -> dict[str, Finding]:
        rows = []
        for whose, measured in ((sha256, measures), (THEIRS, rival_measures if rival else {})):
            for name, value in measured.items():
                wide = value is not None and half_width is not None and name != "flow_loss"
                rows.append(
                    row_of(
                        MODEL_EVALUATION,
                        checkpoint_sha256=whose,
                        bench_version="" if name == "flow_loss" else BENCH,
                        split=split,
                        metric=name,
                        value=value,
                        low=value - half_width if wide else None,
                        high=value + half_width if wide else None,
                        persons=persons,
                        absent=None if value is not None else absent,
                    )
                )
        evidence = Evidence(
            checkpoint=row_of(FUSION_DIT, checkpoint_sha256=OURS, loss_before=before, loss_after=after),
            base={"repository": None if gate == "tiny" else "Wan-AI/x", "layout": "ti2v" if begins_with_picture else "t2v"},
            evaluation=MODEL_EVALUATION.frame(rows),
            videos=EVALUATED_VIDEOS.frame(videos or []),
            bench=None if bench is None else SimpleNamespace(name="small", version=bench),
        )
        return {finding.rule: finding for finding in figures_found(ReleaseGate(**bounds), evidence, rival)}

    return go


@pytest.fixture
def drawn(row_of: Callable[..., dict[str, Any]]) -> Callable[..., list[dict[str, Any]]]:
    """Videos of one case a person, by us and by the champion: their pose_binned_similarity."""

    def go(ours: list[float | None], theirs: list[float | None]) -> list[dict[str, Any]]:
        return [
            row_of(
                EVALUATED_VIDEOS,
                checkpoint_sha256=whose,
                bench_version=BENCH,
                case_id=f"case-{number}",
                clip_id=f"case-{number}",
                identity_id=f"person-{number}",
                seed=0,
                pose_binned_similarity=value,
            )
            for whose, values in ((OURS, ours), (THEIRS, theirs))
            for number, value in enumerate(values)
        ]

    return go


def _verdict(found: Mapping[str, Finding]) -> str:
    return verdict_of(found.values())


# ---- a pretrained base without a champion


def test_a_pretrained_base_passes_though_its_loss_hardly_falls(judge: Judge) -> None:
    found = judge(GOOD | {"flow_loss": 1.05}, after=0.99)
    assert _verdict(found) == "passed"
    assert list(found) == ["evaluated", "training_loss", "test_loss", "first_frame", "likeness"]


def test_bounds_are_inclusive_but_for_strangers(judge: Judge) -> None:
    found = judge(GOOD | {"flow_loss": 1.1, "first_frame_psnr_db": 30.0}, before=1.0, after=1.0)
    assert _verdict(found) == "passed"
    assert judge(GOOD | {"pose_binned_similarity": 0.1})["likeness"].verdict == "undecided"


@pytest.mark.parametrize(
    ("measures", "after", "rule", "verdict", "sentence"),
    [
        (GOOD, 1.01, "training_loss", "refused", "was 1.0000 and is 1.0100, not at most 1.0000"),
        (GOOD | {"flow_loss": 1.11}, 0.5, "test_loss", "refused", "is 1.1100, not at most 1.1000"),
        (GOOD | {"first_frame_psnr_db": 29.9}, 0.5, "first_frame", "refused", "29.9 dB from the given one, not at least 30 dB"),
        (
            GOOD | {"pose_binned_similarity": -0.2},
            0.5,
            "likeness",
            "refused",
            "-0.200 (-0.300 to -0.100) over 10 persons, not above 0",
        ),
        (GOOD | {"pose_binned_similarity": 0.05}, 0.5, "likeness", "undecided", "whether it lies above 0 cannot be told"),
    ],
)
def test_each_bound_keeps_the_gate_shut(
    judge: Judge, measures: Mapping[str, float], after: float, rule: str, verdict: str, sentence: str
) -> None:
    found = judge(measures, after=after)
    assert found[rule].verdict == _verdict(found) == verdict
    assert sentence in found[rule].sentence
    assert {name for name, finding in found.items() if finding.verdict != "passed"} == {rule}


def test_no_face_in_any_frame_does_not_pass(judge: Judge) -> None:
    """Faces that were not found count as strangers: the mean is 0, and its interval ends there."""
    found = judge(GOOD | {"pose_binned_similarity": 0.0, "faces_found_share": 0.0}, half_width=0.0)
    assert found["likeness"].verdict == "refused"


@pytest.mark.parametrize(("persons", "half_width"), [(5, 0.01), (1, None)])
def test_too_few_persons_are_undecided(judge: Judge, persons: int, half_width: float | None) -> None:
    found = judge(persons=persons, half_width=half_width)
    assert found["likeness"].verdict == "undecided"
    assert "too few persons, at least 6 decide" in found["likeness"].sentence
    assert judge(persons=5, half_width=0.01, min_persons=5)["likeness"].verdict == "passed"


def test_a_base_without_a_first_frame_is_not_asked_for_its_fidelity(judge: Judge) -> None:
    assert "first_frame" not in judge(GOOD | {"first_frame_psnr_db": None}, begins_with_picture=False)


def test_a_measure_that_is_missing_says_of_which_clip_and_why(judge: Judge) -> None:
    said = "clip 42: it begins in profile, no frame of its window can condition a model"
    found = judge(GOOD | {"first_frame_psnr_db": None}, absent=said)
    assert found["first_frame"].verdict == "undecided"
    assert said in found["first_frame"].sentence


# ---- what is not a number


@pytest.mark.parametrize("value", [NAN, math.inf])
@pytest.mark.parametrize(
    ("gate", "name", "rule"),
    [
        ("pretrained", "flow_loss", "test_loss"),
        ("tiny", "flow_loss", "test_loss"),
        ("pretrained", "first_frame_psnr_db", "first_frame"),
        ("pretrained", "pose_binned_similarity", "likeness"),
    ],
)
def test_no_measure_that_is_not_finite_passes(judge: Judge, gate: str, name: str, rule: str, value: float) -> None:
    found = judge(GOOD | {name: value}, gate=gate)
    assert found[rule].verdict == "refused"
    assert found[rule].figure is None
    assert "not a finite number" in found[rule].sentence


@pytest.mark.parametrize("gate", ["pretrained", "tiny"])
@pytest.mark.parametrize(("before", "after"), [(1.0, NAN), (NAN, 0.5), (NAN, NAN), (math.inf, 0.5)])
def test_no_loss_that_is_not_finite_passes(judge: Judge, gate: str, before: float, after: float) -> None:
    assert judge(before=before, after=after, gate=gate)["training_loss"].verdict == "refused"


def test_what_is_refused_is_not_excused_by_what_is_undecided(judge: Judge) -> None:
    assert _verdict(judge(GOOD | {"flow_loss": 2.0, "pose_binned_similarity": 0.05})) == "refused"


def test_nothing_at_all_is_undecided() -> None:
    assert verdict_of([]) == "undecided"


# ---- whose evaluation, on what


def test_the_evaluation_of_another_checkpoint_counts_for_nothing(judge: Judge) -> None:
    found = judge(sha256="d" * 64)
    assert {finding.verdict for name, finding in found.items() if name != "training_loss"} == {"undecided"}
    assert (
        f"no evaluation of checkpoint {OURS[:12]} on bench small {BENCH[:12]}, only of dddddddddddd"
        in found["evaluated"].sentence
    )


def test_an_evaluation_on_another_bench_counts_for_nothing(judge: Judge) -> None:
    assert judge(bench="e" * 64)["evaluated"].verdict == "undecided"


@pytest.mark.parametrize("gate", ["pretrained", "tiny"])
def test_without_a_bench_nothing_passes(judge: Judge, gate: str) -> None:
    found = judge(bench=None, gate=gate)
    assert found["evaluated"].verdict == _verdict(found) == "undecided"


def test_only_test_persons_count(judge: Judge) -> None:
    assert _verdict(judge(split="validation")) == "undecided"


# ---- against the champion


def test_a_much_worse_model_that_meets_every_absolute_bound_is_refused(judge: Judge, drawn: Callable[..., Any]) -> None:
    """What took `champion` before: worse than it by far, and above every bound."""
    videos = drawn([0.3 + 0.01 * n for n in range(8)], [0.9 + 0.01 * (n % 3) for n in range(8)])
    found = judge(GOOD | {"pose_binned_similarity": 0.3}, rival=CHAMPION, videos=videos)
    assert found["no_worse"].verdict == _verdict(found) == "refused"
    assert "less that of champion version 1" in found["no_worse"].sentence
    assert "it is worse" in found["no_worse"].sentence
    assert "likeness" not in found


def test_the_same_again_is_no_worse(judge: Judge, drawn: Callable[..., Any]) -> None:
    videos = drawn([0.5] * 8, [0.5] * 8)
    assert judge(rival=CHAMPION, videos=videos)["no_worse"][:4] == ("no_worse", "passed", 0.0, -0.02)


def test_a_better_model_passes(judge: Judge, drawn: Callable[..., Any]) -> None:
    found = judge(rival=CHAMPION, videos=drawn([0.6] * 8, [0.5] * 8))
    assert _verdict(found) == "passed"


def test_slightly_worse_within_the_margin_is_no_worse(judge: Judge, drawn: Callable[..., Any]) -> None:
    videos = drawn([0.49] * 8, [0.5] * 8)
    assert judge(rival=CHAMPION, videos=videos)["no_worse"].verdict == "passed"
    assert judge(rival=CHAMPION, videos=videos, margin=0.005)["no_worse"].verdict == "refused"


def test_surely_worse_is_worse_though_its_interval_begins_above_the_margin(judge: Judge, drawn: Callable[..., Any]) -> None:
    finding = judge(rival=CHAMPION, videos=drawn([0.495, 0.465] * 4, [0.5] * 8))["no_worse"]
    assert finding.figure is not None
    assert -0.02 < finding.figure < 0, "the end that is nearer to 0"
    assert finding.verdict == "refused"


def test_what_scatters_cannot_be_told(judge: Judge, drawn: Callable[..., Any]) -> None:
    videos = drawn([0.2, 0.8] * 4, [0.5] * 8)
    finding = judge(rival=CHAMPION, videos=videos)["no_worse"]
    assert finding.verdict == "undecided"
    assert "cannot be told" in finding.sentence


def test_too_few_pairs_of_persons_are_undecided(judge: Judge, drawn: Callable[..., Any]) -> None:
    for persons in (1, 5):
        finding = judge(rival=CHAMPION, videos=drawn([0.9] * persons, [0.1] * persons))["no_worse"]
        assert finding.verdict == "undecided"
        assert "too few persons" in finding.sentence


def test_a_hard_case_that_was_not_drawn_makes_no_model_better(judge: Judge, drawn: Callable[..., Any]) -> None:
    videos = drawn([0.9] * 8, [0.5] * 8)
    for whose, lacking in (("this version", videos[:7] + videos[8:]), ("champion version 1", videos[:-1])):
        finding = judge(rival=CHAMPION, videos=lacking)["no_worse"]
        assert finding.verdict == "undecided"
        assert f"{whose} has not drawn case case-7" in finding.sentence


def test_a_case_without_a_measure_is_named_with_its_cause(judge: Judge, drawn: Callable[..., Any]) -> None:
    videos = drawn([0.9] * 7 + [None], [0.5] * 8)
    videos[7]["absent"] = [{"measure": "pose_binned_similarity", "reason": "the bench has no bounds for profiles"}]
    finding = judge(rival=CHAMPION, videos=videos)["no_worse"]
    assert finding.verdict == "undecided"
    assert "of clip case-7 by this version is missing: the bench has no bounds for profiles" in finding.sentence
    videos[7] |= {"status": "timeout", "reason": "deadline", "detail": "not finished after 10 s"}
    assert "is missing: not finished after 10 s" in judge(rival=CHAMPION, videos=videos)["no_worse"].sentence


def test_a_pair_that_is_not_a_number_is_refused(judge: Judge, drawn: Callable[..., Any]) -> None:
    videos = drawn([0.9] * 7 + [NAN], [0.5] * 8)
    assert judge(rival=CHAMPION, videos=videos)["no_worse"].verdict == "refused"


def test_a_champion_without_videos_leaves_it_undecided(judge: Judge, drawn: Callable[..., Any]) -> None:
    finding = judge(rival=CHAMPION, videos=drawn([0.9] * 8, []))["no_worse"]
    assert finding.verdict == "undecided"
    assert "no video of champion version 1" in finding.sentence


# ---- the tiny random base


def test_the_tiny_base_is_judged_by_its_loss_alone(judge: Judge) -> None:
    found = judge(GOOD | {"pose_binned_similarity": -0.5, "first_frame_psnr_db": 3.0}, gate="tiny")
    assert _verdict(found) == "passed"
    assert found["likeness"].verdict == "not judged"
    assert found["likeness"].sentence == "likeness is not judged: the tiny base is random and draws noise"
    assert "first_frame" not in found


@pytest.mark.parametrize(
    ("measures", "after", "rule"), [(GOOD, 0.81, "training_loss"), (GOOD | {"flow_loss": 0.81}, 0.5, "test_loss")]
)
def test_the_tiny_base_must_learn(judge: Judge, measures: Mapping[str, float], after: float, rule: str) -> None:
    found = judge(measures, after=after, gate="tiny")
    assert found[rule].verdict == _verdict(found) == "refused"
    assert _verdict(judge(measures, after=after, gate="tiny", min_loss_fall=0.1, min_test_loss_fall=0.1)) == "passed"


@pytest.mark.parametrize(
    ("theirs", "verdict"), [(0.75, "passed"), (0.69, "passed"), (0.65, "refused"), (None, "undecided"), (NAN, "refused")]
)
def test_a_second_tiny_model_is_compared_by_the_loss_of_test_persons(judge: Judge, theirs: float | None, verdict: str) -> None:
    found = judge(gate="tiny", rival=CHAMPION, rival_measures={"flow_loss": theirs}, absent="another base")
    assert found["no_worse"].verdict == _verdict(found) == verdict


# ---- in words


def test_all_that_keeps_it_back_is_named_and_nothing_else(judge: Judge) -> None:
    said = in_words(judge(GOOD | {"flow_loss": 2.0, "first_frame_psnr_db": 1.0}).values())
    assert len(said.split("; ")) == 2
    assert in_words(judge().values()) == "passed"


@pytest.mark.parametrize(
    "wrong",
    [{"min_loss_fall": 1}, {"min_test_loss_fall": 1}, {"min_first_frame_psnr_db": -1}, {"min_persons": 1}, {"use": "fun"}],
)
def test_bounds_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReleaseGate(**wrong)


def test_findings_fit_the_table(judge: Judge) -> None:
    from lafid_assets.schemas.registry import FINDING

    for found in (judge(before=NAN), judge({}), judge()):
        frame = pl.DataFrame([finding._asdict() for finding in found.values()], schema=FINDING.to_schema())
        assert all(value is None or math.isfinite(value) for name in ("figure", "bound") for value in frame[name])
