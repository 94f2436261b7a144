"""What a training forward gives the transformer is what the stock pipeline gives it, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.bases.base import Base, load_base
from model.bases.build import build_tiny_base
from model.bases.conditions import Condition, with_picture
from model.bases.flow import TIMESTEPS
from model.bases.stock_pipelines import frames_to_ask, stock_pipeline
from model.clips.clip_set import Batch, ClipSet, DataError
from model.encoding.condition_encoder import ConditionEncoder
from model.face_branch.trainable import FusedModel, assemble
from model.presets import Preset
from tests.model.layouts import WITH_PICTURES, with_wan_vae

SIDE, FRAMES = 32, 9
PROMPT = "a square moves"


def _pixels(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    for name, spec in WITH_PICTURES.items():
        build_tiny_base(root / name, spec=spec)
    return {name: root / name for name in WITH_PICTURES}


@pytest.fixture(params=["haar", "wan_vae"])
def of_layout(folders: dict[str, Path], request: pytest.FixtureRequest) -> Callable[[str], Base]:
    """A base of that name, with either codec."""

    def make(name: str) -> Base:
        base = load_base(folders[name], "cpu")
        return base if request.param == "haar" else with_wan_vae(base, WITH_PICTURES[name])

    return make


@pytest.fixture
def fuse(clips: ClipSet, quick: Callable[..., Preset]) -> Callable[[Base], FusedModel]:
    """A fresh fusion changes nothing of what the base draws."""

    def make(base: Base) -> FusedModel:
        chosen = quick(trainable="adapter_and_lora")
        return assemble(base, clips.batch([0]).face, chosen.fusion, chosen.train)

    return make


Call = dict[str, Any]


def note_calls(module: torch.nn.Module) -> list[tuple[Call, torch.Tensor]]:
    """Collects keyword arguments and output of every forward of `module`."""
    calls: list[tuple[Call, torch.Tensor]] = []
    module.register_forward_hook(lambda _m, _args, kwargs, output: calls.append((kwargs, output[0])), with_kwargs=True)
    return calls


def draw(base: Base, steps: int, **given: object) -> None:
    pipeline = stock_pipeline(base, base.transformers, first_frame="image" in given, offload_to=None)
    pipeline(
        prompt=PROMPT,
        height=SIDE,
        width=SIDE,
        num_frames=frames_to_ask(base, FRAMES),
        num_inference_steps=steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        **given,
    )


def batch_of(base: Base, clips: ClipSet, condition: Condition) -> Batch:
    text, _ = base.image_to_video().encode_prompt(PROMPT, do_classifier_free_guidance=False, max_sequence_length=512)
    return clips.batch([0])._replace(text=text, condition=condition)


def same(ours: Call, stock: Call) -> None:
    """Every tensor that the stock pipeline gives, but for the VACE blocks' scale, which is 1 unless given."""
    ours, stock = ({name: value for name, value in call.items() if isinstance(value, torch.Tensor)} for call in (ours, stock))
    assert (stock.pop("control_hidden_states_scale", torch.ones(())) == 1).all()
    assert ours.keys() == stock.keys()
    for name, value in stock.items():
        assert torch.equal(ours[name], value), name


@torch.no_grad()
def check(base: Base, model: FusedModel, batch: Batch, calls: list[tuple[Call, torch.Tensor]]) -> None:
    """Each of the stock pipeline's forwards again, through the training forward."""
    stock = list(calls)
    for given, output in stock:
        noisy = given["hidden_states"][:, : base.codec.config.z_dim]
        calls.clear()
        velocity = model.velocity(noisy, given["timestep"] / TIMESTEPS, batch, first_frame=base.info.layout == "i2v")
        ((ours, _),) = calls
        same(ours, given)
        assert torch.equal(velocity, output)


@pytest.mark.parametrize("name", ["tiny-i2v", "tiny-i2v-two-experts"])
def test_from_a_first_frame(
    of_layout: Callable[[str], Base], clips: ClipSet, fuse: Callable[[Base], FusedModel], name: str
) -> None:
    base = of_layout(name)
    model, frame = fuse(base), _pixels(SIDE, SIDE)
    every = [note_calls(transformer) for transformer in base.transformers]
    draw(base, 2, image=Image.fromarray(frame))
    assert [len(calls) for calls in every] == ([2] if len(every) == 1 else [1, 1])
    encoder = ConditionEncoder(base)
    assert encoder.has_image_branch == (name == "tiny-i2v")
    embeds = encoder.image_embeds(frame) if encoder.has_image_branch else None
    condition = Condition(encoder.first_frame_control(frame, FRAMES), embeds)
    for calls in every:
        check(base, model, batch_of(base, clips, condition), calls)


@pytest.mark.parametrize("has_picture", [True, False])
def test_vace_from_a_picture_of_the_person_or_from_nothing(
    of_layout: Callable[[str], Base], clips: ClipSet, fuse: Callable[[Base], FusedModel], has_picture: bool
) -> None:
    base = of_layout("tiny-vace")
    model, crop = fuse(base), _pixels(40, 40)
    calls = note_calls(base.transformer)
    draw(base, 2, **({"reference_images": [Image.fromarray(crop)]} if has_picture else {}))
    encoder = ConditionEncoder(base)
    picture = encoder.picture(crop, SIDE, SIDE) if has_picture else None
    condition = Condition(encoder.empty_control(FRAMES, SIDE, SIDE), picture=picture)
    assert len(calls) == 2
    check(base, model, batch_of(base, clips, condition), calls)


@torch.no_grad()
def test_the_condition_of_a_shorter_clip_is_the_beginning_of_the_longer_ones(
    of_layout: Callable[[str], Base], clips: ClipSet, fuse: Callable[[Base], FusedModel]
) -> None:
    """So a clip that is cut at its end needs nothing encoded again."""
    for name in ("tiny-i2v", "tiny-vace"):
        base, frame = of_layout(name), _pixels(SIDE, SIDE)
        encoder = ConditionEncoder(base)
        if name == "tiny-i2v":
            embeds = encoder.image_embeds(frame)
            long, short = (Condition(encoder.first_frame_control(frame, frames), embeds) for frames in (FRAMES, 5))
        else:
            picture = encoder.picture(frame, SIDE, SIDE)
            long, short = (Condition(encoder.empty_control(frames, SIDE, SIDE), picture=picture) for frames in (FRAMES, 5))
        cut = short.control.shape[2]
        assert 1 < cut < long.control.shape[2]
        assert torch.equal(long.control[:, :, :cut], short.control)
        model, batches = fuse(base), [batch_of(base, clips, condition) for condition in (long, short)]
        noisy = with_picture(torch.randn(short.control.shape), short)
        cut_batches = [batches[0].cut(cut), batches[1]]
        drawn = [model.velocity(noisy, torch.tensor([0.5]), batch, first_frame=name == "tiny-i2v") for batch in cut_batches]
        assert torch.equal(*drawn)


@torch.no_grad()
def test_each_clip_of_a_batch_has_its_own_condition_whichever_transformer_draws_it(
    folders: dict[str, Path], clips: ClipSet, fuse: Callable[[Base], FusedModel]
) -> None:
    base = load_base(folders["tiny-i2v-two-experts"], "cpu")
    model = fuse(base)
    frames = [_pixels(SIDE, SIDE), 255 - _pixels(SIDE, SIDE)]
    each = [batch_of(base, clips, Condition(ConditionEncoder(base).first_frame_control(frame, FRAMES))) for frame in frames]
    text, control = (torch.cat(parts) for parts in zip(*((b.text, b.condition.control) for b in each), strict=True))
    both = clips.batch([0, 0])._replace(text=text, condition=Condition(control))
    noisy, sigma = torch.randn_like(control), torch.tensor([0.95, 0.2])
    velocity = model.velocity(noisy, sigma, both)
    for row, batch in enumerate(each):
        alone = model.velocity(noisy[row : row + 1], sigma[row : row + 1], batch)
        torch.testing.assert_close(velocity[row : row + 1], alone, atol=1e-5, rtol=0)
        other = model.velocity(noisy[row : row + 1], sigma[row : row + 1], each[1 - row])
        assert not torch.allclose(alone, other, atol=1e-3)


def test_what_a_base_is_not_given_is_said(folders: dict[str, Path], clips: ClipSet, fuse: Callable[[Base], FusedModel]) -> None:
    batch, sigma = clips.batch([0]), torch.tensor([0.5])
    i2v, vace = (fuse(load_base(folders[name], "cpu")) for name in ("tiny-i2v", "tiny-vace"))
    with pytest.raises(DataError, match="no condition, which base tiny-i2v of layout i2v takes: materialize training_latents"):
        i2v.velocity(batch.latents, sigma, batch)
    with pytest.raises(ValueError, match="always given its first frame: set train.first_frame_dropout to 0"):
        i2v.velocity(batch.latents, sigma, batch, first_frame=False)
    shorter = clips.batch([0])._replace(condition=Condition(batch.latents[:, :, 1:]))
    with pytest.raises(ValueError, match="3 noisy latent frames beside 2 of control"):
        vace.velocity(batch.latents, sigma, shorter, first_frame=False)
    with pytest.raises(ValueError, match="cannot be given a first frame: set train.first_frame_dropout to 1"):
        vace.velocity(batch.latents, sigma, batch)
