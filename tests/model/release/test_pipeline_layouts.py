"""Generation with bases of the released layouts: what was trained with is what a live request gives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.clips.clip_set import ClipSet
from model.encoding.condition_encoder import ConditionEncoder
from model.encoding.encoders import ClipEncoders
from model.face_branch.trainable import assemble
from model.presets import Preset, ReferenceConfig
from model.release.pipeline import InputError, LafidPipeline
from tests.model.conftest import hear
from tests.model.layouts import TINY_T2V_TWO_EXPERTS, WITH_PICTURES
from tests.model.manifests import a_manifest


@pytest.fixture
def pipeline_on(
    clips: ClipSet, quick: Callable[..., Preset], stub_engine: Callable, tmp_path: Path
) -> Callable[[str], LafidPipeline]:
    """A model that hears its face, on the tiny base of that name."""

    specs = WITH_PICTURES | {TINY_T2V_TWO_EXPERTS.name: TINY_T2V_TWO_EXPERTS}

    def make(name: str, **of_base: float) -> LafidPipeline:
        build_tiny_base(tmp_path / name, spec=specs[name])
        spec = specs[name].model_copy(update=of_base)
        chosen = quick(trainable="adapter", first_frame_dropout=0.0 if spec.layout == "i2v" else 1.0)
        base, chosen = load_base(tmp_path / name, "cpu"), chosen.model_copy(update={"base": spec})
        model = assemble(base, clips.batch([0]).face, chosen.fusion, chosen.train)
        for _, fusion in model.attached:
            hear(fusion)
        manifest = a_manifest(chosen, base.info, encoders_fingerprint=ClipEncoders(base).fingerprint)
        return LafidPipeline(model, manifest, stub_engine())

    return make


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def given_to(pipeline: LafidPipeline, name: str) -> list[torch.Tensor | None]:
    """One argument of every forward of the first transformer, as it comes."""
    given: list[torch.Tensor | None] = []
    pipeline.model.base.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: given.append(kwargs.get(name)), with_kwargs=True
    )
    return given


def test_vace_is_given_the_persons_picture_as_in_training(pipeline_on: Callable, image: Image.Image) -> None:
    pipeline = pipeline_on("tiny-vace")
    controls = given_to(pipeline, "control_hidden_states")
    frames = pipeline.generate(None, "x", photos=[image], steps=2, guidance=2.0)
    assert frames.shape == (3, 16, 16, 3)
    encoder = ConditionEncoder(pipeline.model.base)
    picture, empty = encoder.picture(pipeline.face(image).crop, 16, 16), encoder.empty_control(3, 16, 16)
    # In both of guidance's passes, at both steps: the picture before the video, of which nothing is known.
    assert len(controls) == 4
    for control in controls:
        assert torch.equal(control[:, :48], torch.cat([picture, empty], dim=2))
        assert (control[:, 96:, 0] == 0).all()
        assert (control[:, 96:, 1:] == 1).all()


def test_vace_draws_the_same_again_and_another_person_otherwise(pipeline_on: Callable, image: Image.Image) -> None:
    pipeline = pipeline_on("tiny-vace")
    first, again = (pipeline.generate(None, "x", photos=[image], steps=2) for _ in range(2))
    assert np.array_equal(first, again)
    other = Image.fromarray(255 - np.asarray(image))
    assert not np.array_equal(first, pipeline.generate(None, "x", photos=[other], steps=2))
    assert not np.array_equal(first, pipeline.generate(None, "x", photos=[image], steps=2, face_guidance=2.0))
    views = pipeline.generate(None, "x", photos=[image, other], steps=2)
    assert not np.array_equal(first, views), "further photos are views"


def test_vace_draws_nobody_without_a_picture(pipeline_on: Callable, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = pipeline_on("tiny-vace")
    drawn = given_to(pipeline, "hidden_states")
    assert pipeline.generate(None, "x", steps=1, choose=None).shape == (3, 16, 16, 3)
    assert drawn[0].shape[2] == 3
    pipeline.generate(None, "x", steps=1, photos=[Image.new("RGB", (40, 40), "red")])
    assert drawn[-1].shape[2] == 4
    assert "Rounding" not in caplog.text


@pytest.mark.parametrize(("name", "first", "message"), [("tiny-vace", True, "as a photo"), ("tiny-i2v", False, "a first frame")])
def test_a_picture_in_the_wrong_place_is_refused(
    pipeline_on: Callable, image: Image.Image, name: str, first: bool, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pipeline_on(name).generate(image if first else None, "x", photos=[image])


@pytest.mark.parametrize("name", ["tiny-i2v", "tiny-i2v-two-experts"])
def test_image_to_video_is_given_the_first_frame_as_in_training(pipeline_on: Callable, image: Image.Image, name: str) -> None:
    pipeline = pipeline_on(name)
    inputs, rows = (given_to(pipeline, argument) for argument in ("hidden_states", "encoder_hidden_states_image"))
    frames = pipeline.generate(image, "x", photos=[image], steps=2)
    assert frames.shape == (3, 16, 16, 3)
    shown = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    encoder = ConditionEncoder(pipeline.model.base)
    assert torch.equal(inputs[0][:, -48:], encoder.first_frame_control(shown, 3))
    assert (rows[0] is None) == (name == "tiny-i2v-two-experts")
    if rows[0] is not None:
        assert torch.equal(rows[0], encoder.image_embeds(shown))


def test_two_experts_draw_from_photos_alone_as_noise_falls(pipeline_on: Callable, image: Image.Image) -> None:
    """As Wan2.2's T2V-A14B: one timestep a clip, which says whose turn it is, on the base's own sigma shift."""
    pipeline = pipeline_on("tiny-t2v-two-experts", flow_shift_480p=12.0)
    turns: dict[str, list[float]] = {"high": [], "low": []}
    for name, transformer in zip(turns, pipeline.model.base.transformers, strict=True):
        transformer.register_forward_pre_hook(
            lambda _module, _args, kwargs, name=name: turns[name].append(float(kwargs["timestep"])), with_kwargs=True
        )
    frames = pipeline.generate(None, "x", photos=[image], steps=4, guidance=1.0)
    assert frames.shape == (3, 16, 16, 3)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=12.0)
    scheduler.set_timesteps(4)
    assert turns["high"] + turns["low"] == scheduler.timesteps.tolist()
    assert min(turns["high"]) >= 900 > max(turns["low"])
    for _, fusion in pipeline.model.attached:
        with torch.no_grad():
            fusion.reference_reader(0).up.weight.zero_()
        changed = pipeline.generate(None, "x", photos=[image], steps=4, guidance=1.0)
        assert not np.array_equal(frames, changed), "each expert reads the references"
        frames = changed


@pytest.mark.parametrize(("photos", "shown"), [(1, [0, 0, 0]), (2, [1, 0, 1]), (5, [1, 2, 3])])
def test_a_model_draws_with_as_many_views_as_it_was_trained_with(
    pipeline_on: Callable, monkeypatch: pytest.MonkeyPatch, photos: int, shown: list[int]
) -> None:
    """Others than the photo that conditions first, and that one again where there are too few."""
    pipeline = pipeline_on("tiny-t2v-two-experts")
    preset = pipeline.manifest.preset
    fusion = preset.fusion.model_copy(update={"references": ReferenceConfig(views=3, masked_share=0.5)})
    pipeline.manifest = pipeline.manifest.model_copy(update={"preset": preset.model_copy(update={"fusion": fusion})})
    given: list[list[int]] = []

    def remember(_encoders: object, crops: list[Any], _side_px: int) -> torch.Tensor:
        given.append([int(crop[0, 0, 0]) for crop in crops])
        return torch.zeros(len(crops), 4, 2, 2)

    monkeypatch.setattr("model.release.pipeline.view_latents", remember)
    faces = [replace(pipeline.face(_plain(0), "only"), crop=np.array(_plain(number))) for number in range(photos)]
    pipeline.denoisers(faces, 1.0)
    assert given == [shown]


def _plain(grey: int) -> Image.Image:
    return Image.fromarray(np.full((40, 40, 3), grey, np.uint8))
