"""Leakage asked of the lake: the train split of the model's own dataset version, and that engine's figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.identity.policies import ClusterPolicy
from lafid_assets.release.judgement import TrainingUnknown, leaks_of
from lafid_assets.schemas import DATASET_VERSION_ROWS
from model.evaluation.bench import Bench
from model.evaluation.leakage import Leak
from resources.lake.lake import Lake
from tests.model.evaluation.benches import ENGINE, WIDTH, direction, small_bench

FIGURES = {"strangers_mean": 0.1, "strangers_spread": 0.01, "edge_floor": 0.4, "least_similarity": 0.2}
POLICY = ClusterPolicy(figures={"invented": FIGURES | {"threshold_floor": 0.6, "threshold_ceiling": 0.7}})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return small_bench(tmp_path / "bench")


@pytest.fixture
def known(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> Lake:
    """A lake that knows two versions: `v1` trained on person 0 and tested person 1, `v2` the other way round; `v3` trained on
    somebody who looks like person 1."""
    rows = [
        ("v1", "a", "train", "person-0", "invented", direction(5, 0)),
        ("v1", "b", "test", "person-1", "invented", direction(5, 0)),
        ("v2", "a", "test", "person-0", "invented", direction(5, 0)),
        ("v2", "b", "train", "person-1", "invented", direction(5, 0)),
        ("v3", "c", "train", "nobody", "invented", direction(1, 0)),
        ("v3", "d", "train", "nobody else", "other", (1.0,) * (WIDTH + 1)),
    ]
    names = ("dataset_version", "clip_id", "split", "identity_id", "engine", "identity_embedding")
    frame = DATASET_VERSION_ROWS.frame(row_of(DATASET_VERSION_ROWS, **dict(zip(names, row, strict=True))) for row in rows)
    lake.put({DATASET_VERSION_ROWS.name: frame})
    return lake


def _leaks(lake: Lake, bench: Bench, version: str, policy: ClusterPolicy | None = POLICY) -> list[Leak]:
    with lake.snapshot() as reader:
        return leaks_of(reader, bench, version, policy)


def test_only_the_train_split_of_the_models_own_version_counts(known: Lake, bench: Bench) -> None:
    assert [(leak.kind, leak.identity_id, leak.trained_clip_id) for leak in _leaks(known, bench, "v1")] == [
        ("identity", "person-0", "a")
    ]
    assert [(leak.kind, leak.identity_id) for leak in _leaks(known, bench, "v2")] == [("identity", "person-1")]


def test_look_alikes_are_told_from_the_cosine_that_makes_clips_one_person(known: Lake, bench: Bench) -> None:
    [leak] = _leaks(known, bench, "v3")
    assert (leak.kind, leak.identity_id, leak.trained_clip_id) == ("likeness", "person-1", "c")
    assert "0.600 being one person" in leak.sentence
    stricter = POLICY.figures | {"invented": POLICY.figures["invented"] | {"threshold_floor": 0.999, "threshold_ceiling": 0.999}}
    assert _leaks(known, bench, "v3", ClusterPolicy(figures=stricter)) == []


def test_an_engine_without_figures_is_not_asked_who_looks_alike(known: Lake, bench: Bench) -> None:
    assert ENGINE.name not in ClusterPolicy().figures
    assert _leaks(known, bench, "v3", None) == []


def test_a_training_that_this_lake_does_not_know_proves_nothing(known: Lake, bench: Bench) -> None:
    with pytest.raises(TrainingUnknown, match=f"dataset version v9 trains on, so that bench {bench.version} cannot be checked"):
        _leaks(known, bench, "v9")
