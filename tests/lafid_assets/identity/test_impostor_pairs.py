"""The threshold that follows from how alike strangers are."""

from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from lafid_assets.identity.impostor_pairs import FEWEST_CLIPS, choose_threshold
from lafid_assets.identity.policies import ClusterFigures

FIGURES = ClusterFigures(
    strangers_mean=0.0, strangers_spread=0.1, threshold_floor=0.30, threshold_ceiling=0.60, edge_floor=0.30, least_similarity=0.1
)


def _persons(persons: int, clips_each: int, width: int, likeness: float = 0.9) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    towards = random.standard_normal((persons, width))
    scatter = random.standard_normal((persons * clips_each, width))
    towards, scatter = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (towards, scatter))
    clips = likeness * np.repeat(towards, clips_each, axis=0) + np.sqrt(1 - likeness**2) * scatter
    return (clips / np.linalg.norm(clips, axis=1, keepdims=True)).astype(np.float32)


def test_few_clips_go_by_the_shipped_figures() -> None:
    found = choose_threshold(_persons(30, 1, 4), FIGURES, 0.01)
    assert (found.origin, found.strangers_spread) == ("shipped", 0.1)
    assert found.cosine == pytest.approx(0.1 * NormalDist().inv_cdf(1 - 0.01 / 29))


def test_many_clips_are_measured() -> None:
    """Random directions in 100 dimensions: cosines of spread 0.1."""
    found = choose_threshold(_persons(2000, 1, 100), FIGURES, 0.01)
    assert found.origin == "clips"
    assert found.strangers_mean == pytest.approx(0, abs=0.005)
    assert found.strangers_spread == pytest.approx(0.1, rel=0.03)
    assert found.cosine == pytest.approx(0.1 * NormalDist().inv_cdf(1 - 0.01 / 1999), rel=0.04)


def test_pairs_of_one_person_do_not_raise_it() -> None:
    """Every tenth pair shows one person twice: a plain standard deviation would be 0.27."""
    found = choose_threshold(_persons(10, 200, 100), FIGURES, 0.01)
    assert found.strangers_spread < 0.15


def test_it_rises_with_the_number_of_clips_between_floor_and_ceiling() -> None:
    thresholds = [choose_threshold(np.ones((count, 1), np.float32), FIGURES, 0.01).cosine for count in (1, 10, 50, 150)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] == FIGURES.threshold_floor < thresholds[-1]
    tight = FIGURES.model_copy(update={"threshold_ceiling": 0.31})
    assert choose_threshold(np.ones((150, 1), np.float32), tight, 0.01).cosine == 0.31
    assert FEWEST_CLIPS > 150
