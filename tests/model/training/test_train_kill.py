"""A run that is killed by SIGKILL, a real process at random steps, ends with the bits of the run that nothing disturbed."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.resume import Run, Trace, random_kills, trace
from model.presets import Preset


@pytest.mark.soak
def test_killed_at_random_steps_it_has_the_digest_of_the_undisturbed_run(
    quick: Callable[..., Preset], clip_list: Path, base_dir: Path, tmp_path: Path, soak: bool
) -> None:
    """Every part on, accumulation, averaging; a state every two steps, so that kills fall before, into and after its saving."""
    steps, count = (40, 20) if soak else (6, 2)
    config = quick(steps=steps, batch_size=3, forward_clips=2, checkpoint_every=2, trainable="adapter_and_lora", ema_decay=0.9)
    seed = random.SystemRandom().randrange(2**32)
    kills = random_kills(count, steps, seed)
    print(f"seed {seed}: killed after {kills}")
    whole, killed = (
        trace(Run(config, clip_list, base_dir, tmp_path / name), ends) for name, ends in (("whole", ()), ("killed", kills))
    )
    print(f"undisturbed {whole.digest}, killed {killed.digest}")
    assert whole.digest == killed.digest


def test_the_drift_is_the_largest_relative_difference_of_a_figure() -> None:
    one, other = (Trace({1: f"{(1.0).hex()} {second.hex()}"}, "w") for second in (2.0, 2.5))
    assert (one.drift_from(one), one.drift_from(other)) == (0.0, 0.2)
    assert one.digest != other.digest
