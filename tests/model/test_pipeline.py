"""Generation: it begins with the picture, repeats itself, listens to the face, refuses what it cannot draw."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.base import load_base
from model.checkpoint import CheckpointError, EmbeddingSource, Manifest, write_checkpoint
from model.face_processor import FaceError
from model.metrics import psnr
from model.pipeline import LafidPipeline, load
from model.presets import Preset
from model.sizes import SizeError
from model.trainable import FusedModel
from model.video_io import read_frames, write_mp4


@pytest.fixture
def checkpoint_dir(fused: Callable[..., FusedModel], quick: Callable[..., Preset], tmp_path: Path) -> Path:
    model = fused(heard=True)
    manifest = Manifest(
        preset=quick(),
        base=model.base.info,
        face_engine=EmbeddingSource(name="stub", version="1", width=16),
        encoders_fingerprint="e",
        parts={},
        dataset_version="v1",
        seed=0,
        step=4,
        loss_before=2.0,
        loss_after=1.0,
    )
    write_checkpoint(tmp_path / "checkpoint", model, manifest)
    return tmp_path / "checkpoint"


@pytest.fixture
def pipeline(checkpoint_dir: Path, base_dir: Path, stub_engine: Callable) -> LafidPipeline:
    return load(checkpoint_dir, base_dir, "cpu", stub_engine())


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def test_it_begins_with_the_picture(pipeline: LafidPipeline, image: Image.Image) -> None:
    frames = pipeline.generate(image, "x", steps=2)
    assert frames.shape == (3, 16, 16, 3)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames[0], np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC)))
    assert not np.array_equal(frames[1], frames[0])


def test_the_video_on_disk_begins_with_the_photograph(pipeline: LafidPipeline, tmp_path: Path) -> None:
    """The product's own bar: 30 dB against the given image at the video's size."""
    photograph = Image.fromarray(pytest.importorskip("skimage.data", reason="needs scikit-image's photograph").astronaut())
    frames = pipeline.generate(photograph, "x", height=64, width=64, num_frames=9, steps=1)
    write_mp4(tmp_path / "out.mp4", frames, pipeline.fps)
    reference = np.asarray(photograph.resize((64, 64), Image.Resampling.BICUBIC))
    assert psnr(read_frames(tmp_path / "out.mp4", [0.0])[0], reference) >= 30


def test_the_same_request_gives_the_same_bits_another_seed_or_face_does_not(
    pipeline: LafidPipeline, image: Image.Image, stub_engine: Callable
) -> None:
    first, again = (pipeline.generate(image, "x", steps=2) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, pipeline.generate(image, "x", steps=2, seed=1))
    assert not np.array_equal(first, pipeline.generate(image, "another prompt", steps=2))
    assert not np.array_equal(first, pipeline.generate(image, "x", steps=2, face_guidance=2.0))
    pipeline.engine.faces = 2  # the second face's box, and so its crop, is smaller
    assert not np.array_equal(first, pipeline.generate(image, "x", steps=2, choose=1))


def test_without_a_face_it_draws_what_the_base_draws(pipeline: LafidPipeline, image: Image.Image, base_dir: Path) -> None:
    frames = pipeline.generate(image, "x", steps=2, choose=None, guidance=2.0)
    stock = load_base(base_dir, "cpu").image_to_video()(
        image=image.resize((16, 16), Image.Resampling.BICUBIC),
        prompt="x",
        height=16,
        width=16,
        num_frames=2,
        num_inference_steps=2,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    )
    assert np.array_equal(frames, (stock.frames[0] * 255).round().astype(np.uint8))
    assert not np.array_equal(frames, pipeline.generate(image, "x", steps=2, guidance=2.0))


def test_the_size_follows_the_picture(pipeline: LafidPipeline, image: Image.Image) -> None:
    assert pipeline.generate(image.resize((80, 20)), "x", steps=1).shape == (3, 16, 32, 3)
    assert pipeline.generate(image, "x", steps=1, height=32, width=16, num_frames=1).shape == (1, 32, 16, 3)


def test_illegal_sizes_and_missing_faces_are_refused(pipeline: LafidPipeline, image: Image.Image, stub_engine: Callable) -> None:
    with pytest.raises(SizeError, match="16 x 16"):
        pipeline.generate(image, "x", height=15, width=20)
    pipeline.engine.faces = 0
    with pytest.raises(FaceError, match="no face"):
        pipeline.generate(image, "x")


def test_another_engines_embeddings_are_refused(checkpoint_dir: Path, base_dir: Path, stub_engine: Callable) -> None:
    engine = stub_engine()
    engine.info = type(engine.info)("other", "1", 512, "none", "other")
    with pytest.raises(CheckpointError, match="trained on stub's identity embeddings"):
        load(checkpoint_dir, base_dir, "cpu", engine)
    with pytest.raises(CheckpointError, match="no face engine here is named 'stub'"):
        load(checkpoint_dir, base_dir, "cpu")


def test_a_prompt_that_is_cut_says_where(pipeline: LafidPipeline, image: Image.Image, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline.generate(image, "a" * 511 + " and the end", steps=1)
    assert "' and the end'" in caplog.text
    assert "Rounding" not in caplog.text
