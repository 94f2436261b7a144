"""The fusion on an unmodified transformer: equal to it when fresh or unused, right under checkpointing, gone when detached."""

from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import WanTransformer3DModel

from model.bases.base import Base
from model.bases.flow import token_timesteps
from model.clips.clip_set import Batch, ClipSet
from model.encoding.face_features import FaceFeatures
from model.face_branch.attach import FACE, REFERENCES, FaceCrossAttention, attach
from model.face_branch.fusion import FaceFusion, FaceTokens
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel
from model.presets import AlignerConfig, Preset
from tests.model.conftest import hear

Fused = Callable[..., FusedModel]


@pytest.fixture
def batch(clips: ClipSet) -> Batch:
    return clips.batch([0, 1])


def run(
    transformer: WanTransformer3DModel, batch: Batch, face: FaceTokens | None = None, references: References | None = None
) -> torch.Tensor:
    sigma = torch.tensor([0.3, 0.8])
    given = {FACE: face, REFERENCES: references}
    return transformer(
        hidden_states=batch.latents,
        timestep=token_timesteps(sigma, batch.latents, (1, 2, 2)),
        encoder_hidden_states=batch.text,
        attention_kwargs={name: value for name, value in given.items() if value is not None} or None,
        return_dict=False,
    )[0]


@pytest.mark.parametrize("kind", ["cofe", "mofe"])
@pytest.mark.parametrize("injection", ["narrow", "full"])
@pytest.mark.parametrize("aligner", [None, "input", "tokens"])
def test_step_0_equals_the_base_bit_for_bit(
    base: Base, fused: Fused, batch: Batch, kind: str, injection: str, aligner: str | None
) -> None:
    expected = run(base.transformer, batch)
    model = fused(kind, injection=injection, aligner=aligner and AlignerConfig(dictionary=8, width=16, joins=aligner))
    assert torch.equal(run(base.transformer, batch, model.fusion(batch.face)), expected)
    assert torch.equal(run(base.transformer, batch, model.fusion.null(2)), expected)


@pytest.mark.parametrize("joins", ["input", "tokens"])
def test_the_aligners_person_joins_where_the_config_says(fused: Fused, batch: Batch, base: Base, joins: str) -> None:
    model = fused(heard=True, aligner=AlignerConfig(dictionary=8, width=16, joins=joins))
    face = model.fusion(batch.face)
    shift = {"input": face.input_shift, "tokens": face.token_shift}
    assert [name for name, value in shift.items() if value is not None] == [joins]
    without = face._replace(input_shift=None, token_shift=None)
    assert not torch.equal(run(base.transformer, batch, face), run(base.transformer, batch, without))
    turned = batch.face._replace(angles_deg=batch.face.angles_deg + 30)
    assert not torch.equal(run(base.transformer, batch, model.fusion(turned)), run(base.transformer, batch, face))


def test_a_time_aware_gate_hears_the_timestep(base: Base, fused: Fused, batch: Batch) -> None:
    model = fused(heard=True, time_aware=True)
    said: list[torch.Tensor] = []
    model.fusion.gates[0].register_forward_hook(lambda _module, _args, weights: said.append(weights))
    face = model.fusion(batch.face)
    for sigma in (torch.tensor([0.3, 0.8]), torch.tensor([0.3, 0.2])):
        timesteps = token_timesteps(sigma, batch.latents, (1, 2, 2))
        base.transformer(batch.latents, timesteps, batch.text, attention_kwargs={FACE: face})
    torch.testing.assert_close(said[0][0], said[1][0])
    assert (said[0][1] - said[1][1]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["cofe", "mofe"])
def test_without_a_face_it_is_the_base_bit_for_bit(base: Base, fused: Fused, batch: Batch, kind: str) -> None:
    expected = run(base.transformer, batch)
    model = fused(kind, heard=True)
    assert not torch.equal(run(base.transformer, batch, model.fusion(batch.face)), expected)
    assert torch.equal(run(base.transformer, batch), expected)


def test_the_base_gains_no_key(base: Base, fused: Fused) -> None:
    before = set(base.transformer.state_dict())
    fused()
    assert set(base.transformer.state_dict()) == before


def test_another_face_changes_the_video_the_same_face_does_not(base: Base, fused: Fused, batch: Batch) -> None:
    model = fused(heard=True)
    first = run(base.transformer, batch, model.fusion(batch.face))
    again = run(base.transformer, batch, model.fusion(batch.face))
    swapped = batch.face._replace(identity=batch.face.identity.flip(0))
    other = run(base.transformer, batch, model.fusion(swapped))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-3


def test_a_face_reaches_its_own_row_only(base: Base, fused: Fused, batch: Batch) -> None:
    model = fused(heard=True)
    both = run(base.transformer, batch, model.fusion(batch.face))
    changed = batch.face._replace(identity=torch.stack([batch.face.identity[0], -batch.face.identity[1]]))
    mixed = run(base.transformer, batch, model.fusion(changed))
    torch.testing.assert_close(both[0], mixed[0], atol=1e-6, rtol=0)
    assert (both[1] - mixed[1]).abs().max() > 1e-3


def test_checkpointing_gives_the_same_gradients_with_two_forwards_before_one_backward(
    base: Base, fused: Fused, clips: ClipSet, batch: Batch
) -> None:
    """What breaks when tokens are kept on a module: the recomputation would then see the second face in both forwards."""
    model = fused(trainable="all", heard=True)
    base.transformer.train()
    parameters = model.trainable()

    def gradients() -> Iterator[torch.Tensor]:
        loss = torch.zeros(())
        for weight, rows in ((1, [0, 1]), (2, [2, 3])):
            chosen = clips.batch(rows, views=[[0, 1], [2, 0]])
            references = References(chosen.references, visible=torch.tensor([[0, 2, 5], [1, 3, 4]]))
            condition = {FACE: model.fusion(chosen.face), REFERENCES: references}
            loss = loss + weight * run(base.transformer, batch, **condition).square().mean()
        loss.backward()
        for parameter in parameters.values():
            yield parameter.grad
            parameter.grad = None

    plain = list(gradients())
    base.transformer.enable_gradient_checkpointing()
    for expected, found in zip(plain, gradients(), strict=True):
        # What stands in for dropped conditions stays without gradient in both: nothing is dropped here.
        assert (expected is None) == (found is None)
        if expected is not None:
            torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_detaching_restores_the_transformer(base: Base, batch: Batch, fused: Fused) -> None:
    processors = dict(base.transformer.attn_processors)
    expected = run(base.transformer, batch)
    model = fused(heard=True)
    with pytest.raises(ValueError, match="detach it first"):
        attach(model.fusion, base.transformer)
    fresh = WanTransformer3DModel.from_config(base.transformer.config)
    fresh.load_state_dict(base.transformer.state_dict())
    untouched = dict(fresh.attn_processors)
    detach = attach(model.fusion, fresh)
    detach()
    assert fresh.attn_processors == untouched
    touched = (fresh, fresh.rope, fresh.patch_embedding, fresh.condition_embedder)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in touched)
    assert torch.equal(run(fresh, batch), expected)
    assert all(isinstance(p, FaceCrossAttention) for n, p in base.transformer.attn_processors.items() if "attn2" in n)
    assert all(base.transformer.attn_processors[n].base is p for n, p in processors.items() if "attn1" in n)


def test_a_fusion_of_another_size_is_refused(base: Base, fused: Fused) -> None:
    fusion = fused().fusion
    deeper = FaceFusion.from_config({**fusion.config, "blocks": 3})
    with pytest.raises(ValueError, match="3 blocks of width 192, the base has 2 of 192"):
        attach(deeper, base.transformer)


def test_an_interrupted_forward_leaves_nothing_behind(base: Base, fused: Fused, batch: Batch, clips: ClipSet) -> None:
    expected = run(base.transformer, batch)
    model = fused(heard=True)
    broken = batch._replace(text=torch.zeros(2, 512, 3))  # the condition embedder fails on this width
    references = References(clips.batch([0, 1], views=[[0], [1]]).references)
    with pytest.raises(RuntimeError):
        run(base.transformer, broken, model.fusion(batch.face), references)
    assert torch.equal(run(base.transformer, batch), expected)


def test_text_of_other_than_512_rows_is_refused(base: Base, fused: Fused, batch: Batch) -> None:
    model = fused()
    with pytest.raises(ValueError, match="text has 226 rows, the base was trained with 512"):
        run(base.transformer, batch._replace(text=batch.text[:, :226]), model.fusion(batch.face))


def test_regional_compilation_has_no_graph_break(base: Base, fused: Fused, batch: Batch, clips: ClipSet) -> None:
    model = fused(heard=True, aligner=AlignerConfig(dictionary=8, width=16, joins="tokens"))
    with torch.no_grad():
        face = model.fusion(batch.face)
        references = References(clips.batch([0, 1], views=[[0], [1]]).references)
        expected = run(base.transformer, batch, face, references)
        base.transformer.compile_repeated_blocks(fullgraph=True, backend="eager")
        torch.testing.assert_close(run(base.transformer, batch, face, references), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_however_many_blocks_there_are_they_share_two_graphs(features: FaceFeatures, quick: Callable[..., Preset]) -> None:
    """One for the references' way and one for the video's. A graph a block would end at dynamo's limit of eight."""
    torch._dynamo.reset()
    wan = {"num_attention_heads": 2, "attention_head_dim": 24, "ffn_dim": 48, "freq_dim": 32, "num_layers": 10}
    transformer = WanTransformer3DModel(**wan, in_channels=48, out_channels=48, text_dim=64, rope_max_seq_len=64).eval()
    fusion = FaceFusion.for_transformer(transformer, features, quick().fusion)
    attach(fusion, transformer)
    hear(fusion)
    given = {FACE: fusion(features), REFERENCES: References(torch.ones(2, 1, 48, 4, 4))}
    inputs = {
        "hidden_states": torch.ones(2, 48, 3, 4, 4),
        "timestep": torch.tensor([300.0, 800.0]),
        "encoder_hidden_states": torch.ones(2, 512, 64),
    }
    expected = transformer(**inputs, attention_kwargs=given, return_dict=False)[0]
    graphs: list[torch.fx.GraphModule] = []
    transformer.compile_repeated_blocks(fullgraph=True, backend=lambda graph, _inputs: graphs.append(graph) or graph.forward)
    torch.testing.assert_close(transformer(**inputs, attention_kwargs=given, return_dict=False)[0], expected, atol=1e-6, rtol=0)
    assert len(graphs) == 2


def test_the_attention_backend_reaches_the_wrapped_processor(base: Base, fused: Fused) -> None:
    fused()
    base.transformer.set_attention_backend("_native_math")
    processor = base.transformer.blocks[0].attn2.processor
    reached = processor.base._attention_backend
    base.transformer.set_attention_backend("native")  # diffusers sets it for the whole process
    assert reached.value == "_native_math"
