"""The ablation's table: results are never computed twice, differences are paired, and a claim is shown or not shown."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import Sizes, World
from benchmarks.ablation_curves import CURVES, write_pictures
from benchmarks.ablation_table import difference, summarise, text_of
from benchmarks.head_scores import Score

SIZES = Sizes(steps=10, base_steps=1, train_persons=4, test_persons=4)


def score(similarity: float, swap_views: float | None = None) -> Score:
    return Score(
        similarity=similarity,
        by_gap=[similarity, similarity, similarity / 2],
        swap_photo=0.0,
        swap_views=swap_views,
        swap_none=0.0,
        withheld={"identity": 0.1, "semantic": 0.2, "detail": 0.3},
        hidden=0.5,
        hidden_teeth=0.25,
        seen=0.75,
        curve=[(5, similarity / 2), (10, similarity)],
        loss=1.0,
        adapter_parameters=100,
        train_s=1.0,
    )


class StandInJudge:
    """Says of real frames what a judge would."""

    network = None
    clips = SimpleNamespace(latents=None)

    def traits(self, _: object) -> None: ...

    def similarity(self, _: object) -> np.ndarray:
        return np.full((4, 3), 0.9)

    def by_gap(self, _: object) -> list[float]:
        return [0.9, 0.9, 0.9]

    def features(self, _: object) -> dict[str, float]:
        return {"hidden": 0.9, "hidden_teeth": 0.8, "seen": 0.9}


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, int]]:
    """Nothing is trained; what would be, in order."""
    ran: list[tuple[str, int]] = []

    def run(_: object, variant: str, seed: int, __: int) -> Score:
        ran.append((variant, seed))
        if len(ran) == 4:
            raise KeyboardInterrupt
        return score(0.25 * (seed + 1) + 0.125 * (variant == "cofe"))

    judge = SimpleNamespace(_asdict=lambda: dict.fromkeys(("same", "same_far", "different", "auc", "auc_far"), 0.5))
    for name, stand_in in (
        *(("prepare", lambda *_: World(tmp_path / "world", None, None, StandInJudge())), ("run", run)),
        *(("decode", lambda _: None), ("words_alone", lambda *_: None), ("validity", lambda _: judge)),
    ):
        monkeypatch.setattr(ablation, name, stand_in)
    return ran


def test_a_killed_run_goes_on_to_the_same_table(stand_ins: list[tuple[str, int]], tmp_path: Path) -> None:
    seeds = {"identity": 3, "cofe": 3, "none": 2}
    with pytest.raises(KeyboardInterrupt):
        ablation.measure(tmp_path, seeds, SIZES)
    half = tmp_path / "world" / "10-steps" / ".cofe-1.json"
    half.write_text('{"similarity":')
    table = ablation.measure(tmp_path, seeds, SIZES)
    assert stand_ins == [
        *(("identity", 0), ("cofe", 0), ("none", 0), ("identity", 1), ("identity", 1)),
        *(("cofe", 1), ("none", 1), ("identity", 2), ("cofe", 2)),
    ], "one seed of all before the next, and what was done is not done again"
    stand_ins.clear()
    again = ablation.measure(tmp_path, seeds, SIZES)
    assert (again, stand_ins) == (table, [])
    assert table["cofe"]["similarity"] == pytest.approx(np.mean([0.375, 0.625, 0.875]))
    assert table["cofe"]["spread"] == pytest.approx(0.0), "seed by seed the difference is always the same"
    assert table["cofe"]["difference"]["mean"] == pytest.approx(0.125)
    assert table["real_frames"]["similarity"] == pytest.approx(0.9)
    assert "CoFE: a gate a block" in text_of(table)
    json.dumps(table)
    write_pictures(table, tmp_path)
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")


def test_a_difference_has_to_exceed_its_spread() -> None:
    steady, wild = [0.05, 0.06, 0.04, 0.05, 0.05], [0.4, -0.3, 0.3, -0.2, 0.05]
    zero = [0.0] * 5
    assert difference(steady, zero).mean == pytest.approx(difference(wild, zero).mean)
    assert difference(steady, zero).mean > difference(steady, zero).bound
    assert difference(wild, zero).mean < difference(wild, zero).bound
    assert difference([0.1], [0.0]).bound == float("inf"), "one pair shows nothing"
    assert difference([0.1, 0.2, 0.3], [0.0]).pairs == 1
    assert difference([], [0.0]) is None
    assert difference(steady, zero).bound == pytest.approx(2.132 * np.std(steady, ddof=1) / 5**0.5, rel=1e-3)


def test_claims_are_shown_or_not_shown() -> None:
    def seeds(*values: float, views: float | None = None) -> list[dict]:
        return [vars(score(value, views)) | {"cpu_s": 1.0} for value in values]

    runs = {
        "identity": seeds(0.3, 0.31, 0.29),
        "cofe": seeds(0.4, 0.42, 0.41),
        "mofe": seeds(0.4, 0.3, 0.5),
        "references": seeds(0.5, 0.5, 0.5, views=0.45),
        "aligner": seeds(0.39, 0.4, 0.4),
        "all": seeds(0.5, 0.51, 0.48),
    }
    verdicts = {claim["text"]: claim for claim in summarise(runs)["claims"]}
    assert verdicts["three experts beat identity alone"]["verdict"] == "shown"
    assert verdicts["a gate a block beats one gate"]["verdict"] == "not shown"
    assert verdicts["another person's views take away"]["mean"] == pytest.approx(0.05)
    assert verdicts["another person's views take away"]["against"] == "references.swap_views"
    assert verdicts["the detail expert adds"]["verdict"] == "not measured"
    best = verdicts["all together are at least as good as the best alone"]
    assert (best["against"], best["verdict"]) == ("references", "not shown")
    assert summarise(runs)["references"]["swap_other"] == 0.45
    assert summarise(runs)["cofe"]["swap_other"] == 0.0
