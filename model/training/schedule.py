"""A schedule in another number of updates.

Belongs here: what `steps` decides of a run. Not here: a step's rate (`optimisation`); torch, for Dagster's definitions read this.
"""

from model.presets import TrainConfig


def in_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """The same schedule in another number of updates: warmup and stages keep their shares of it, and the cosine ends with it."""

    def scaled(updates: int) -> int:
        return max(1, round(updates * steps / config.steps))

    stages = {scaled(stage.until_step): stage for stage in config.curriculum}
    return config.model_copy(
        update={
            "steps": steps,
            "warmup_steps": config.warmup_steps and scaled(config.warmup_steps),
            "curriculum": tuple(stage.model_copy(update={"until_step": end}) for end, stage in stages.items()),
        }
    )
