"""Deadlines, memory and the rest: bounded, and as the workers want them."""

import pytest

from lafid_assets.faces.shard_limits import ShardLimits


def test_deadline_scales_with_the_length_and_stays_bounded() -> None:
    limits = ShardLimits()
    assert limits.deadline_s(0.0) == limits.least_deadline_s
    assert limits.deadline_s(5.0) == limits.least_deadline_s + 5 * limits.deadline_s_per_s
    assert limits.deadline_s(1e9) == limits.most_deadline_s
    assert limits.least_deadline_s < limits.deadline_s(None) < limits.most_deadline_s


@pytest.mark.parametrize("changed", [{"least_deadline_s": 29}, {"error_budget": 1.1}, {"workers": 0}, {"memory_limit_mib": 1}])
def test_settings_have_bounds(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        ShardLimits(**changed)


def test_child_is_recycled_before_it_reaches_its_limit() -> None:
    of_child = ShardLimits(memory_limit_mib=100, clips_per_child=7).of_child
    assert of_child.memory_bytes == 100 << 20
    assert 0 < of_child.recycle_bytes < of_child.memory_bytes
    assert of_child.recycle_tasks == 7


def test_only_what_can_fail_a_clip_belongs_to_a_trial() -> None:
    same = ShardLimits(workers=9, clips_per_child=1, error_budget=0.5, errors_always_allowed=0)
    assert same.what_a_clip_gets == ShardLimits().what_a_clip_gets
    for changed in ({"memory_limit_mib": 100}, {"least_deadline_s": 99}, {"deadline_s_per_s": 1}, {"most_deadline_s": 99}):
        assert ShardLimits(**changed).what_a_clip_gets != same.what_a_clip_gets
