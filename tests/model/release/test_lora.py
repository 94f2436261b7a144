"""A LoRA that was trained here does in stock diffusers what it does here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.bases.specs import BaseSpec
from model.bases.stock_pipelines import frames_to_ask, stock_pipeline
from model.clips.clip_set import ClipSet
from model.face_branch.trainable import assemble
from model.presets import Preset
from model.release.checkpoint import write_checkpoint
from model.release.pipeline import LafidPipeline
from tests.model.layouts import TINY_I2V, TINY_T2V_TWO_EXPERTS, TINY_VACE
from tests.model.manifests import a_manifest

SIDE, STEPS = 16, 2


@pytest.mark.parametrize("spec", [TINY_T2V_TWO_EXPERTS, TINY_I2V, TINY_VACE], ids=lambda spec: spec.name)
def test_stock_diffusers_loads_it_and_draws_the_same_as_we_do_without_a_face(
    spec: BaseSpec, quick: Callable[..., Preset], clips: ClipSet, stub_engine: Callable, tmp_path: Path
) -> None:
    """Twice as strong as its rank: an alpha that got lost would show. Both experts of two have one of their own."""
    build_tiny_base(tmp_path / "base", spec=spec)
    base = load_base(tmp_path / "base", "cpu")
    dropout = 0.0 if spec.layout == "i2v" else 1.0
    chosen = quick(trainable="adapter_and_lora", lora_rank=4, lora_alpha=8, first_frame_dropout=dropout)
    chosen = chosen.model_copy(update={"base": spec})
    model = assemble(base, clips.batch([0]).face, chosen.fusion, chosen.train)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    folder, manifest = tmp_path / "checkpoint", a_manifest(chosen, base.info)
    write_checkpoint(folder, model, manifest)
    model.set_training(False)
    image = Image.new("RGB", (SIDE, SIDE), (200, 90, 30)) if spec.layout == "i2v" else None
    ours = LafidPipeline(model, manifest, stub_engine()).generate(image, "a smile", choose=None, steps=STEPS, guidance=2.0)

    stock = load_base(tmp_path / "base", "cpu")
    pipeline = stock_pipeline(stock, stock.transformers, first_frame=image is not None, offload_to=None)
    frames = frames_to_ask(stock, chosen.clip.frames)
    without = _drawn(pipeline, image, frames)
    pipeline.load_lora_weights(folder / "lora", use_safetensors=True)
    if spec.experts == 2:
        first_alone = _drawn(pipeline, image, frames)
        assert not np.array_equal(first_alone, ours)
        pipeline.load_lora_weights(folder / "lora_2", use_safetensors=True, load_into_transformer_2=True)
    assert np.array_equal(_drawn(pipeline, image, frames), ours)
    assert not np.array_equal(without, ours)


def _drawn(pipeline: DiffusionPipeline, image: Image.Image | None, frames: int) -> NDArray[np.uint8]:
    given = {} if image is None else {"image": image}
    video = pipeline(
        **given,
        prompt="a smile",
        height=SIDE,
        width=SIDE,
        num_frames=frames,
        num_inference_steps=STEPS,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).frames[0]
    return (video * 255).round().astype(np.uint8)
