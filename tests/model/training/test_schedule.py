"""A schedule in fewer updates is the same one in small."""

from model.presets import PRESETS, Stage
from model.training.schedule import in_steps


def test_warmup_and_stages_keep_their_shares() -> None:
    config = PRESETS["wan2.1-i2v-14b"].train.model_copy(update={"curriculum": (Stage(until_step=5_000, frames=29),)})
    small = in_steps(config, 2_000)
    assert (small.steps, small.warmup_steps, small.curriculum) == (2_000, 50, (Stage(until_step=500, frames=29),))
    assert in_steps(config, config.steps) == config
    assert in_steps(config, 3).warmup_steps == 1
    assert in_steps(config.model_copy(update={"warmup_steps": 0}), 40_000).warmup_steps == 0
