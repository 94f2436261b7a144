"""The same adapter on VACE, FaithfulFaces' base: its side blocks read text alone, and nothing else differs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import WanVACETransformer3DModel

from model.encoding.face_features import FaceFeatures
from model.face_branch.attach import FACE, REFERENCES, FaceCrossAttention, PlainAttention, attach
from model.face_branch.fusion import FaceFusion
from model.face_branch.references import References
from model.face_branch.trainable import unfreeze
from model.presets import Preset


@pytest.fixture
def transformer() -> WanVACETransformer3DModel:
    torch.manual_seed(0)
    return WanVACETransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=48,
        out_channels=48,
        text_dim=64,
        freq_dim=32,
        ffn_dim=96,
        num_layers=4,
        rope_max_seq_len=64,
        vace_layers=[0, 2],
        vace_in_channels=96,
    )


@pytest.fixture
def inputs() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    return {
        "hidden_states": torch.randn(2, 48, 3, 4, 4, generator=generator),
        "timestep": torch.tensor([300.0, 800.0]),
        "encoder_hidden_states": torch.randn(2, 512, 64, generator=generator),
        "control_hidden_states": torch.randn(2, 96, 3, 4, 4, generator=generator),
        "return_dict": False,
    }


@pytest.fixture
def fusion(transformer: WanVACETransformer3DModel, features: FaceFeatures, quick: Callable[..., Preset]) -> FaceFusion:
    fused = FaceFusion.for_transformer(transformer, features, quick().fusion)
    attach(fused, transformer)
    return fused


def hear(fusion: FaceFusion) -> None:
    with torch.no_grad():
        for attention in fusion.attentions:
            attention.out.weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_step_0_and_no_face_equal_the_base(
    transformer: WanVACETransformer3DModel, inputs: dict[str, Any], features: FaceFeatures, quick: Callable[..., Preset]
) -> None:
    expected, keys = transformer(**inputs)[0], set(transformer.state_dict())
    fusion = FaceFusion.for_transformer(transformer, features, quick().fusion)
    detach = attach(fusion, transformer)
    assert set(transformer.state_dict()) == keys
    assert torch.equal(transformer(**inputs, attention_kwargs={FACE: fusion(features)})[0], expected)
    hear(fusion)
    assert not torch.equal(transformer(**inputs, attention_kwargs={FACE: fusion(features)})[0], expected)
    assert torch.equal(transformer(**inputs)[0], expected)
    detach()
    ours = (FaceCrossAttention, PlainAttention)
    assert not any(isinstance(processor, ours) for processor in transformer.attn_processors.values())


@torch.no_grad()
def test_the_video_reads_references_and_the_control_does_not(
    transformer: WanVACETransformer3DModel, inputs: dict[str, Any], features: FaceFeatures, fusion: FaceFusion
) -> None:
    expected = transformer(**inputs)[0]
    condition = {FACE: fusion(features), REFERENCES: References(torch.randn(2, 1, 48, 4, 4))}
    assert torch.equal(transformer(**inputs, attention_kwargs=condition)[0], expected)
    control: list[torch.Tensor] = []
    transformer.vace_blocks[0].register_forward_hook(lambda _module, _args, output: control.append(output[0]))
    transformer(**inputs, attention_kwargs={FACE: condition[FACE]})
    torch.nn.init.ones_(fusion.reference_reader(0).up.weight)
    assert not torch.equal(transformer(**inputs, attention_kwargs=condition)[0], expected)
    assert torch.equal(control[0], control[1])


def test_checkpointing_gives_the_same_gradients(
    transformer: WanVACETransformer3DModel,
    inputs: dict[str, Any],
    features: FaceFeatures,
    fusion: FaceFusion,
    quick: Callable[..., Preset],
) -> None:
    hear(fusion)
    unfreeze(transformer, quick(trainable="adapter_and_lora").train)
    transformer.train()
    assert sum("lora_A" in name for name, _ in transformer.named_parameters()) == (4 + 2) * 8
    assert not any("lora" in name for name, _ in fusion.named_parameters())
    parameters = [p for module in (transformer, fusion) for p in module.parameters() if p.requires_grad]

    def gradients() -> list[torch.Tensor | None]:
        loss = torch.zeros(())
        for number, face in enumerate((features, features._replace(identity=features.identity.flip(0)))):
            given = {FACE: fusion(face), REFERENCES: References(torch.full((2, 1, 48, 4, 4), 0.1 * number))}
            loss = loss + transformer(**inputs, attention_kwargs=given)[0].square().mean()
        return list(torch.autograd.grad(loss, parameters, allow_unused=True))

    plain = gradients()
    transformer.enable_gradient_checkpointing()
    torch.testing.assert_close(gradients(), plain, atol=1e-6, rtol=1e-4)
