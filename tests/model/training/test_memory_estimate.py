"""Refusing what cannot fit, with numbers, before anything is loaded."""

from pathlib import Path

import pytest
import torch

import model.training.memory_estimate
import model.training.memory_table
from model.bases.build import build_transformer
from model.bases.specs import WanConfig
from model.clip_size import ClipSize
from model.encoding.face_features import FaceFeatures
from model.face_branch.attach import FACE, attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.trainable import unfreeze
from model.presets import TEXT_ROWS, AlignerConfig, FusionConfig, Preset, preset
from model.training.memory_estimate import PresetTooLarge, check_fits, estimate_memory, what_to_lower
from model.training.memory_table import fits, memory_by_mode, memory_row
from model.training.preset_table import PresetSize, preset_size

LARGE = "wan2.1-t2v-1.3b"


@pytest.fixture(autouse=True)
def _counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters of a preset do not depend on the precision; counting those of one with many blocks takes a second."""
    for module in (model.training.memory_estimate, model.training.memory_table):
        monkeypatch.setattr(module, "preset_size", size_of)


def size_of(chosen: Preset) -> PresetSize:
    plain = chosen.model_copy(update={"train": chosen.train.model_copy(update={"precision": "float32"})})
    told = plain.model_dump_json()
    return SIZES[told] if told in SIZES else SIZES.setdefault(told, preset_size(plain))


SIZES: dict[str, PresetSize] = {}


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


def test_each_mode_holds_what_it_has_to() -> None:
    """Of 14 billion parameters; the blocks' frozen weights are 26 GiB of 27, a block is 0.65."""
    large = preset("wan2.1-t2v-14b")
    modes = memory_by_mode(large, size_of(large))
    plain = modes["plain"].weights
    assert 25.5 < modes["offload"].host < 26.5
    assert modes["shared, offload"].host == pytest.approx(modes["offload"].host / 8)
    a_block = modes["offload"].host / 40
    assert modes["offload"].weights == pytest.approx(plain - 38 * a_block)
    assert modes["shared"].weights == pytest.approx(plain - 37 * a_block + 5 * a_block)
    assert modes["shared, offload"].weights == pytest.approx(plain - 37 * a_block)
    assert len({estimate.activations for estimate in modes.values()}) == 1
    assert fits(modes["plain"], 80)
    assert not fits(modes["plain"], 48)
    assert memory_row(large) in (Path(__file__).parents[3] / "docs" / "training.md").read_text(), "write the table anew"


def test_activations_are_those_that_autograd_keeps() -> None:
    """Of a real block, two against one, in bfloat16 with LoRA; tokens are many, so that text and face are few beside them."""
    chosen = preset("wan2.1-t2v-1.3b")
    wan = WanConfig(num_attention_heads=1, attention_head_dim=64, ffn_dim=256, text_dim=16, num_layers=2)
    config = chosen.train.model_copy(update={"lora_rank": 2, "compile_blocks": False, "gradient_checkpointing": 0.0})
    small = chosen.model_copy(
        update={
            "base": chosen.base.model_copy(update={"transformer": wan}),
            "clip": ClipSize(frames=13, height=384, width=384),
            "fusion": FusionConfig(tokens=1, attention_width=2, head_width=2),
            "train": config,
        }
    )
    kept = [_kept_bytes(small, layers) for layers in (1, 2)]
    assert (kept[1] - kept[0]) / 2**30 == pytest.approx(estimate_memory(small).activations / 2, rel=0.15)


def _kept_bytes(chosen: Preset, layers: int) -> int:
    """That autograd keeps of a forward beside parameters."""
    wan = chosen.base.transformer.model_copy(update={"num_layers": layers})
    torch.manual_seed(0)
    transformer = build_transformer(chosen.base.model_copy(update={"transformer": wan})).requires_grad_(False)
    for block in transformer.blocks:
        for layer in block.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.bfloat16()
    unfreeze(transformer, chosen.train)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    shapes = chosen.features
    features = FaceFeatures(
        torch.randn(1, shapes.identity_width), torch.randn(1, 17, 8), torch.randn(1, 16, shapes.detail_width), torch.zeros(1, 3)
    )
    fusion = FaceFusion.for_transformer(transformer, features, chosen.fusion)
    attach(fusion, transformer)
    transformer.train()
    parameters = {value.untyped_storage().data_ptr() for value in (*transformer.parameters(), *fusion.parameters())}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        drawn = transformer(
            hidden_states=torch.randn(1, 16, 4, 48, 48),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, TEXT_ROWS, wan.text_dim),
            attention_kwargs={FACE: fusion(features)},
            return_dict=False,
        )[0]
    assert drawn.requires_grad
    return sum(kept.values())


def test_vace_blocks_keep_activations_where_gradients_reach_them() -> None:
    """Here one of them beside two blocks; frozen, and reading no trained tensor, it keeps nothing."""

    def activations(**train: object) -> float:
        chosen = changed("wan2.1-vace-1.3b", gradient_checkpointing=False, **train)
        wan = chosen.base.transformer.model_copy(update={"num_layers": 2, "vace_layers": (0,)})
        cut = chosen.model_copy(update={"base": chosen.base.model_copy(update={"transformer": wan}), "fusion": fusion})
        return estimate_memory(cut).activations

    fusion = preset("wan2.1-vace-1.3b").fusion
    frozen, reached = activations(trainable="adapter"), activations(trainable="adapter_and_lora")
    assert reached > 1.5 * frozen
    fusion = fusion.model_copy(update={"aligner": AlignerConfig()})  # it joins the video that the VACE blocks read
    assert activations(trainable="adapter") == pytest.approx(1.5 * frozen)


def test_only_what_is_not_at_its_least_is_named() -> None:
    least = changed(
        LARGE, precision="bfloat16", gradient_checkpointing=1.0, forward_clips=1, shard_base=True, trainable="adapter"
    )
    named = " ".join(what_to_lower(least))
    assert "precision" not in named
    assert "checkpointing" not in named
    assert "shard_base" not in named
    assert "offload_base" in named
    assert "forward_clips" not in named
    assert "lora_rank" not in named
    assert "clip.frames (81)" in named
    most = " ".join(what_to_lower(changed(LARGE, precision="float32", gradient_checkpointing=False, forward_clips=None)))
    assert most.startswith("set train.precision to bfloat16 set train.gradient_checkpointing to 1 lower train.forward_clips (32)")
