"""Refusing what cannot fit, with numbers, before anything is loaded."""

import pytest

from model.presets import AlignerConfig, Preset, preset
from model.training.memory_estimate import PresetTooLarge, check_fits, estimate_memory, what_to_lower

LARGE = "wan2.1-t2v-1.3b"


def changed(name: str = "tiny", **train: object) -> Preset:
    chosen = preset(name)
    return chosen.model_copy(update={"train": chosen.train.model_copy(update=train)})


def test_a_preset_that_cannot_fit_is_refused_with_numbers_and_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: preset(name) for name in ("tiny", LARGE)}
    monkeypatch.setattr("model.training.memory_estimate.PRESETS", few)
    needed = estimate_memory(preset(LARGE))
    check_fits(preset(LARGE), needed.total + 0.1)
    with pytest.raises(PresetTooLarge) as refused:
        check_fits(preset(LARGE), 2.0)
    message = str(refused.value)
    assert message.startswith(f"preset {LARGE} needs at least {needed.total:.1f} GiB (weights {needed.weights:.1f}")
    assert "the card has 2.0" in message
    assert message.endswith("Presets that would fit: tiny")
    assert "\n" not in message


def test_weights_are_counted_in_the_precision_they_are_kept_in() -> None:
    """1.42 billion parameters: 2.6 GiB in bfloat16."""
    half, whole = (estimate_memory(changed(LARGE, precision=precision)).weights for precision in ("bfloat16", "float32"))
    assert 2.6 < half < 4.0
    assert whole - half == pytest.approx(2.64, abs=0.05)


def test_what_saves_memory_lowers_the_estimate() -> None:
    most = estimate_memory(changed(batch_size=32, forward_clips=2))
    one = estimate_memory(changed(batch_size=32, forward_clips=1))
    assert one.activations == pytest.approx(most.activations / 2)
    assert estimate_memory(changed(batch_size=32), processes=32).activations == pytest.approx(one.activations)
    # The tiny base has two blocks: both inputs and all within one, in place of all within two.
    checkpointed = estimate_memory(changed(batch_size=32, forward_clips=2, gradient_checkpointing=True))
    assert 0.5 < checkpointed.activations / most.activations < 0.75
    assert estimate_memory(changed(ema_decay=None)).optimiser == most.optimiser, "the moving average is not on the card"
    frozen = changed(trainable="adapter"), changed(trainable="adapter", shard_base=True)
    whole, shared = (estimate_memory(chosen, processes=1000).weights for chosen in frozen)
    assert shared < 0.6 * whole


def test_vace_blocks_keep_activations_where_gradients_reach_them() -> None:
    """Here one of them beside two blocks; frozen, and reading no trained tensor, it keeps nothing."""

    def activations(**train: object) -> float:
        chosen = changed("wan2.1-vace-1.3b", gradient_checkpointing=False, **train)
        wan = chosen.base.transformer.model_copy(update={"num_layers": 2, "vace_layers": (0,)})
        cut = chosen.model_copy(update={"base": chosen.base.model_copy(update={"transformer": wan}), "fusion": fusion})
        return estimate_memory(cut).activations

    fusion = preset("wan2.1-vace-1.3b").fusion
    frozen, reached = activations(trainable="adapter"), activations(trainable="adapter_and_lora")
    assert reached == pytest.approx(1.5 * frozen)
    fusion = fusion.model_copy(update={"aligner": AlignerConfig()})  # it joins the video that the VACE blocks read
    assert activations(trainable="adapter") == reached


def test_only_what_is_not_at_its_least_is_named() -> None:
    least = changed(
        LARGE, precision="bfloat16", gradient_checkpointing=True, forward_clips=1, shard_base=True, trainable="adapter"
    )
    named = " ".join(what_to_lower(least))
    assert "precision" not in named
    assert "forward_clips" not in named
    assert "lora_rank" not in named
    assert "clip.frames (81)" in named
    most = " ".join(what_to_lower(changed(LARGE, precision="float32", gradient_checkpointing=False, forward_clips=None)))
    assert most.startswith("set train.precision to bfloat16 set train.gradient_checkpointing lower train.forward_clips (32)")
