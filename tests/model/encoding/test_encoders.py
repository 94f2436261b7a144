"""What is cached equals what a live request sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.bases.base import ENCODERS, Base, load_base
from model.clips.clip_set import ClipSet
from model.encoding import encoders as module
from model.encoding.encoders import TEXTS_AT_ONCE, ClipEncoders
from tests.model.cached_clips import read_clip


def test_cached_text_padded_equals_the_pipelines_own(base: Base, clips: ClipSet) -> None:
    prompt = clips.entry(2).meta.caption
    live, _ = base.image_to_video().encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=512)
    batch = clips.batch([2])
    assert batch.text.shape == live.shape == (1, 512, 64)
    assert torch.equal(batch.text, live)


def test_only_real_rows_are_kept(base: Base) -> None:
    encoders = ClipEncoders(base)
    assert encoders.text("abc").shape[0] == 4  # three characters and the end
    assert encoders.text("").shape[0] == 1
    assert encoders.text("a" * 2000).shape[0] == 512


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_text_has_the_same_bits_whatever_texts_are_beside_it(base_dir: Path, dtype: torch.dtype) -> None:
    encoders = ClipEncoders(load_base(base_dir, "cpu", dtype, weights=ENCODERS))
    prompts = [f"A person says {'word ' * number}." for number in range(TEXTS_AT_ONCE + 3)]
    together = encoders.texts(prompts)
    assert {rows.dtype for rows in together} == {dtype}
    assert [rows.shape[0] for rows in together] == [len(prompt.strip()) + 1 for prompt in prompts]
    alone = ClipEncoders(encoders.base)
    for index in (0, 3, len(prompts) - 1):
        assert torch.equal(alone.text(prompts[index]), together[index])
    assert encoders.texts([]) == []


def test_on_a_gpu_every_forward_has_as_many_texts(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whose number it chooses its kernels."""
    asked: list[list[str]] = []

    class Pipeline:
        def encode_prompt(self, prompts: list[str], **_: object) -> tuple[torch.Tensor, None]:
            asked.append(prompts)
            return torch.ones(len(prompts), 3, 2), None

    encoders = ClipEncoders(base)
    monkeypatch.setattr(encoders, "_pipeline", Pipeline())
    monkeypatch.setattr(ClipEncoders, "_device", torch.device("cuda"))
    prompts = [str(number) for number in range(TEXTS_AT_ONCE + 1)]
    assert len(encoders._encode(prompts)) == len(prompts)
    assert asked == [prompts[:-1], [prompts[-1], *[""] * (TEXTS_AT_ONCE - 1)]]


def test_a_text_that_comes_again_is_encoded_once(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEXTS_KEPT", 2)
    encoders = ClipEncoders(base)
    encode, asked = encoders._encode, []
    monkeypatch.setattr(encoders, "_encode", lambda prompts: [asked.extend(prompts), encode(prompts)][1])
    first, again, _ = encoders.texts(["a", "a", "b"])
    assert torch.equal(first, again)
    assert torch.equal(encoders.text("a"), first)
    assert asked == ["a", "b"]
    encoders.texts(["c", "a", "b"])
    assert asked == ["a", "b", "c"], "the two that came last are kept, and all of one call"
    assert len(encoders._told) == 2


def test_the_dtype_of_the_text_encoder_is_in_the_fingerprint_of_texts_alone(base_dir: Path) -> None:
    loaded = (ClipEncoders(load_base(base_dir, "cpu", dtype, weights=ENCODERS)) for dtype in (torch.float32, torch.bfloat16))
    wide, narrow = loaded
    assert wide.text_fingerprint != narrow.text_fingerprint
    assert wide.fingerprint == narrow.fingerprint


def test_the_unread_end_of_a_long_prompt_is_known(base: Base) -> None:
    encoders = ClipEncoders(base)
    assert encoders.unread("a short one") == ""
    assert encoders.unread("a" * 511 + " tail") == " tail"


def test_face_features_have_one_row_and_a_unit_identity(base: Base) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    face = ClipEncoders(base).face(crop, np.full(7, 3.0, np.float32))
    assert face.identity.shape == (1, 7)
    assert torch.allclose(face.identity.norm(dim=-1), torch.ones(1))
    assert face.semantic.shape == (1, 65, 64)
    assert face.detail.shape == (1, 256, 48)


def test_detail_holds_the_crops_colours(base: Base) -> None:
    encoders = ClipEncoders(base)
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    features = [encoders.face(crop, np.ones(4, np.float32)) for crop in (red, blue)]
    assert features[0].detail[0, :, 0].mean() > 1 > -1 > features[1].detail[0, :, 0].mean()
    assert not torch.equal(features[0].semantic, features[1].semantic)


def test_video_latents_are_one_frame_each(base: Base) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    latents = ClipEncoders(base).video(frames)
    assert latents.shape == (48, 3, 4, 6)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (base.codec.config.latents_mean, base.codec.config.latents_std))
    pixels = base.codec.decode(latents[None] * std + mean).sample
    back = ((pixels[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()
    assert np.array_equal(back, frames)


def test_the_empty_caption_is_cached_with_every_clip(base: Base, clips: ClipSet) -> None:
    assert torch.equal(read_clip(clips, 0).null_text, ClipEncoders(base).text(""))
    dropped = clips.batch([0, 1], texts=["empty", "caption"])
    assert torch.equal(dropped.text[0], F.pad(read_clip(clips, 0).null_text, (0, 0, 0, 511)))
    assert torch.equal(dropped.text[1], clips.batch([1]).text[0])
