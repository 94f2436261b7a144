"""Figures belong to engines."""

import pytest
from pydantic import ValidationError

from lafid_assets.identity.policies import ClusterPolicy, ConsistencyPolicy, EngineUncalibrated, figure_for


@pytest.mark.parametrize("engine", ["dlib", "insightface", "insightface/buffalo_l"])
def test_shipped_engines_have_their_figures(engine: str) -> None:
    gap, clusters = ConsistencyPolicy().gap_figures(engine), ClusterPolicy().figures_for(engine)
    assert list(gap.expected) == sorted(gap.expected, reverse=True)
    assert gap.strangers < min(gap.expected)
    assert clusters.strangers_mean + 2 * clusters.strangers_spread < clusters.threshold_floor
    assert 0 < figure_for(engine, ConsistencyPolicy().min_similarity, "min_similarity") < 1


def test_exact_name_goes_before_the_family() -> None:
    figures = {"insightface": 0.3, "insightface/special": 0.5}
    assert figure_for("insightface/special", figures, "f") == 0.5
    assert figure_for("insightface/other", figures, "f") == 0.3
    with pytest.raises(EngineUncalibrated, match="f has no figure for the engine x/y: add one to the asset's config"):
        figure_for("x/y", figures, "f")


def test_incomplete_or_contradictory_figures_are_refused() -> None:
    whole = ClusterPolicy().figures["dlib"]
    with pytest.raises(ValidationError, match="edge_floor"):
        ClusterPolicy(figures={"x": {name: value for name, value in whole.items() if name != "edge_floor"}})
    with pytest.raises(ValidationError, match="threshold_floor <= threshold_ceiling must hold"):
        ClusterPolicy(figures={"x": whole | {"threshold_ceiling": 0.94}})
    gap = ConsistencyPolicy().pose_gap["dlib"]
    with pytest.raises(ValidationError, match="10 figures each"):
        ConsistencyPolicy(pose_gap={"x": gap | {"spread": [0.1]}})
    with pytest.raises(ValidationError, match="strangers"):
        ConsistencyPolicy(pose_gap={"x": {"expected": gap["expected"], "spread": gap["spread"]}})
