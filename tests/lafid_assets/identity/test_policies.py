"""Figures belong to engines."""

import pytest

from lafid_assets.identity.policies import ClusterPolicy, ConsistencyPolicy, EngineUncalibrated, similarity_for


def test_default_engine_has_its_figures() -> None:
    for policy in (ConsistencyPolicy(), ClusterPolicy()):
        assert 0 < similarity_for("dlib", policy.min_similarity, "min_similarity") < 1


def test_other_engines_have_none() -> None:
    with pytest.raises(EngineUncalibrated, match="min_similarity has no figure for the engine x"):
        similarity_for("x", ClusterPolicy().min_similarity, "min_similarity")
