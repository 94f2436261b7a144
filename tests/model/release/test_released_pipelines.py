"""Without face and LoRA, a model on a published base draws what diffusers draws from the same files, byte for byte."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, WanImageToVideoPipeline
from PIL import Image

from model.bases.adopt import adopt_base
from model.bases.base import load_base
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clips.clip_set import ClipSet
from model.encoding.encoders import ClipEncoders
from model.face_branch.trainable import assemble
from model.presets import EncoderConfig, Preset
from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import LafidPipeline
from tests.model.conftest import hear
from tests.model.manifests import a_manifest
from tests.model.released import COMMIT, RELEASED, record_download, store_as, write_snapshot, write_vision_encoder

HALF = {"default": torch.float32, **dict.fromkeys(("transformer", "transformer_2", "text_encoder"), torch.bfloat16)}
"""As diffusers' documentation of Wan loads it."""


@pytest.mark.parametrize(
    ("name", "clip_stored_as"), [*((name, torch.float32) for name in RELEASED), ("wan2.1-i2v-14b", torch.bfloat16)]
)
def test_it_draws_what_diffusers_draws_from_the_same_snapshot(
    name: str, clip_stored_as: torch.dtype, tmp_path: Path, clips: ClipSet, quick: Callable[..., Preset], stub_engine: Callable
) -> None:
    spec = RELEASED[name]
    components = tmp_path / "components"
    write_snapshot(components, spec)
    if clip_stored_as != torch.float32:
        store_as(components / "image_encoder", clip_stored_as)
        record_download(components, COMMIT)
    adopt_base(tmp_path, spec)
    semantic_dir = write_vision_encoder(tmp_path / "clip")
    tiny = quick(first_frame_dropout=0.0 if spec.layout == "i2v" else 1.0)
    chosen = tiny.model_copy(update={"base": spec, "encoders": EncoderConfig(semantic="folder", detail_side_px=32)})
    base = load_base(tmp_path, "cpu", torch.bfloat16)
    model = assemble(base, clips.batch([0]).face, chosen.fusion, chosen.train.model_copy(update={"trainable": "adapter"}))
    for _, fusion in model.attached:
        hear(fusion)
    encoders = ClipEncoders(base, chosen.encoders, semantic_dir)
    manifest = a_manifest(chosen, base.info, encoders_fingerprint=encoders.fingerprint)
    pipeline = LafidPipeline(model, manifest, stub_engine(), DrawingSettings(semantic_dir=semantic_dir))

    begins = spec.layout in FIRST_FRAME_LAYOUTS
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    size = {"height": 32, "width": 32, "num_frames": 5}
    frames = pipeline.generate(
        picture if begins else None, "A woman turns.", choose=None, steps=3, guidance=2.0, seed=3, negative_prompt="rain", **size
    )
    stock = (WanImageToVideoPipeline if begins else DiffusionPipeline).from_pretrained(
        components, dtype=HALF, use_safetensors=True
    )
    stock.set_progress_bar_config(disable=True)
    drawn = stock(
        **({"image": picture} if begins else {}),
        prompt="A woman turns.",
        negative_prompt="rain",
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
        **size,
    ).frames[0]
    assert frames.shape == (5, 32, 32, 3)
    assert np.array_equal(frames, (drawn * 255).round().astype(np.uint8))
    assert frames.std() > 0, "a picture of one colour would be equal whatever drew it"
