"""Which tokens each pass of the stock pipeline sees."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from model.bases.base import Base
from model.bases.flow import token_timesteps
from model.clips.clip_set import Batch, ClipSet
from model.face_branch.attach import FACE, REFERENCES
from model.face_branch.fusion import FaceTokens
from model.face_branch.guidance import FaceGuidance
from model.face_branch.references import References
from model.face_branch.trainable import FusedModel


@pytest.fixture
def model(fused: Callable[..., FusedModel]) -> FusedModel:
    return fused(heard=True)


@pytest.fixture
def inputs(clips: ClipSet) -> dict[str, torch.Tensor]:
    batch: Batch = clips.batch([0])
    timestep = token_timesteps(torch.tensor([0.5]), batch.latents, (1, 2, 2))
    return {"hidden_states": batch.latents, "timestep": timestep, "encoder_hidden_states": batch.text, "return_dict": False}


@torch.no_grad()
def test_the_passes(model: FusedModel, inputs: dict[str, torch.Tensor], clips: ClipSet) -> None:
    transformer = model.base.transformer
    face, null = model.fusion(clips.batch([0]).face), model.fusion.null()
    given, absent = (transformer(**inputs, attention_kwargs={FACE: tokens})[0] for tokens in (face, null))
    assert not torch.equal(given, absent)
    guidance = FaceGuidance(transformer, face, null, scale=1.0)
    with guidance.cache_context("uncond"):
        assert torch.equal(guidance(**inputs)[0], absent)
    with guidance.cache_context("cond"):
        assert torch.equal(guidance(**inputs)[0], given)
    stronger = FaceGuidance(transformer, face, null, scale=2.0)
    with stronger.cache_context("cond"):
        torch.testing.assert_close(stronger(**inputs)[0], absent + 2 * (given - absent))


@torch.no_grad()
def test_text_face_and_references_have_scales_of_their_own(
    model: FusedModel, inputs: dict[str, torch.Tensor], clips: ClipSet
) -> None:
    transformer, batch = model.base.transformer, clips.batch([0], views=[[0, 1]])
    face, null, views = model.fusion(batch.face), model.fusion.null(), References(batch.references)
    hidden = views.at_step(500.0, 0.5, (1, 2, 2))
    assert hidden.visible.shape == (1, 2 * 2)

    def predict(face: FaceTokens, views: References) -> torch.Tensor:
        return transformer(**inputs, attention_kwargs={FACE: face, REFERENCES: views})[0]

    neither, face_only, both = predict(null, hidden.null()), predict(face, hidden.null()), predict(face, hidden)
    guidance = FaceGuidance(transformer, face, null, 2.0, views, 3.0, masked_share=0.5)
    with guidance.cache_context("uncond"):
        assert torch.equal(guidance(**inputs)[0], neither)
    with guidance.cache_context("cond"):
        expected = neither + 2 * (face_only - neither) + 3 * (both - face_only)
        torch.testing.assert_close(guidance(**inputs)[0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("scale", "reference_scale", "passes"), [(1, 1, 1), (2, 2, 2), (1, 2, 2), (2, 1, 3), (0, 0, 1)])
def test_no_pass_is_evaluated_whose_factor_is_zero(
    model: FusedModel, inputs: dict[str, torch.Tensor], clips: ClipSet, scale: float, reference_scale: float, passes: int
) -> None:
    batch = clips.batch([0], views=[[0]])
    views = References(batch.references)
    guidance = FaceGuidance(model.base.transformer, model.fusion(batch.face), model.fusion.null(), scale, views, reference_scale)
    evaluated: list[None] = []
    model.base.transformer.register_forward_pre_hook(lambda *_: evaluated.append(None))
    with guidance.cache_context("cond"):
        guidance(**inputs)
    assert len(evaluated) == passes


@torch.no_grad()
def test_references_alone_leave_the_face_branch_out(model: FusedModel, inputs: dict[str, torch.Tensor], clips: ClipSet) -> None:
    views = References(clips.batch([0], views=[[0]]).references)
    guidance = FaceGuidance(model.base.transformer, None, None, references=views)
    expected = model.base.transformer(**inputs, attention_kwargs={REFERENCES: views})[0]
    with guidance.cache_context("cond"):
        assert torch.equal(guidance(**inputs)[0], expected)


@torch.no_grad()
def test_the_stock_pipeline_names_its_passes(base: Base, model: FusedModel, clips: ClipSet) -> None:
    seen = []

    class Watched(FaceGuidance):
        def forward(self, **inputs: object) -> tuple[torch.Tensor]:
            seen.append(self._pass)
            return super().forward(**inputs)

    stand_in = Watched(base.transformer, model.fusion(clips.batch([0]).face), model.fusion.null(), 1.0)
    image = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
    base.image_to_video(stand_in)(
        image=image,
        prompt="x",
        height=16,
        width=16,
        num_frames=2,
        num_inference_steps=2,
        guidance_scale=3.0,
        output_type="latent",
    )
    assert seen == ["cond", "uncond"] * 2
