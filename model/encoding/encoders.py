"""Everything frozen, run once: text, clip and face to the tensors that training and inference both read.

Belongs here: the calls of the base's encoders, so that a cached clip and a live request go through the same code. Not here:
anything that trains (`face_branch.experts`, `face_branch.fusion`), finding the face (`face_processor`), the networks that look
at it (`face_encoders`), the parts of a cached clip (`clips.clip_parts`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.bases.base import Base
from model.bases.codec import Moments, encode_moments
from model.bases.conditions import Condition
from model.encoding.condition_encoder import ConditionEncoder
from model.encoding.face_encoders import EncoderError, FaceEncoder, LatentEncoder, VisionEncoder
from model.encoding.face_features import FaceFeatures
from model.presets import TEXT_ROWS, EncoderConfig

TEXTS_AT_ONCE = 8
TEXTS_KEPT = 256
"""Of the longest rows of Wan's text encoder about 1 GB in the host's memory; of OpenHumanVid's captions a third."""
_VERSION = 2
"""Raise it when the same input is to give other tensors: caches are keyed by the fingerprint."""


class ClipEncoders:
    """The frozen encoders of one base. Deterministic; without gradients; results on the base's device.

    Args:
        base: text encoder, VAE and, where it has one, CLIP.
        config: which networks look at the face.
        semantic_dir: the folder of the vision encoder, where `config.semantic` is "folder".

    Raises:
        EncoderError: the config asks for an encoder that the base or the folder does not hold.
    """

    def __init__(self, base: Base, config: EncoderConfig | None = None, semantic_dir: Path | None = None) -> None:
        self.base = base
        self._told: dict[str, torch.Tensor] = {}
        self._pipeline = base.image_to_video()
        config = config or EncoderConfig()
        self.conditions = ConditionEncoder(base)
        self._semantic = _vision(base, config, config.semantic_layer, semantic_dir)
        self._detail: FaceEncoder = (
            LatentEncoder(base.codec, config.detail_side_px, base.digests["vae"])
            if config.detail == "latents"
            else _vision(base, config, config.detail_layer, semantic_dir)
        )

    @property
    def fingerprint(self) -> str:
        """Names weights and preprocessing of all; equal fingerprints give equal tensors."""
        return _fingerprint(self.base.info.sha256, self.semantic_fingerprint, self.detail_fingerprint)

    @property
    def video_fingerprint(self) -> str:
        """The same of `moments` and `video`, and of what else the VAE encodes of a clip."""
        return _fingerprint(self.base.digests["vae"])

    @property
    def text_fingerprint(self) -> str:
        """The same of `texts`; the text encoder runs in the dtype that it was loaded with."""
        dtype = str(self.base.text_encoder.dtype)
        return _fingerprint(self.base.digests["text_encoder"], self.base.digests["tokenizer"], dtype)

    @property
    def image_fingerprint(self) -> str:
        """The same of a condition's `image_embeds`, for a base with an image branch."""
        return _fingerprint(self.base.digests["image_encoder"], self.base.digests["image_processor"])

    @property
    def semantic_fingerprint(self) -> str:
        """The same of `semantic`."""
        return _fingerprint(self._semantic.fingerprint)

    @property
    def detail_fingerprint(self) -> str:
        """The same of `detail`."""
        return _fingerprint(self._detail.fingerprint)

    def text(self, prompt: str) -> torch.Tensor:
        """(L, D): the real rows of the prompt's encoding, at most 512; pad with zeros to read them."""
        return self.texts([prompt])[0]

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        """The same of several prompts, with equal bits whatever prompts are beside them.

        Those of the last `TEXTS_KEPT` are kept: what many clips are captioned with is encoded once, the empty prompt among it.
        As diffusers does it each is padded to 512 tokens, so that all are of one shape. A GPU chooses its kernels by the number
        of rows: there a forward always has `TEXTS_AT_ONCE` prompts, and empty ones fill it up.
        """
        known = {prompt: self._told.pop(prompt) for prompt in dict.fromkeys(prompts) if prompt in self._told}
        fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        known |= {prompt: rows.cpu() for prompt, rows in zip(fresh, self._encode(fresh), strict=True)}
        self._told |= known
        for oldest in list(self._told)[:-TEXTS_KEPT]:
            del self._told[oldest]
        return [known[prompt].to(self._device) for prompt in prompts]

    def _encode(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for begin in range(0, len(prompts), TEXTS_AT_ONCE):
            told = list(prompts[begin : begin + TEXTS_AT_ONCE])
            filled = told + [""] * (TEXTS_AT_ONCE - len(told) if self._device.type == "cuda" else 0)
            padded, _ = self._pipeline.encode_prompt(
                filled, do_classifier_free_guidance=False, max_sequence_length=TEXT_ROWS, device=self._device
            )
            found += [rows[: int(rows.any(dim=-1).sum())] for rows in padded[: len(told)]]
        return found

    def unread(self, prompt: str) -> str:
        """The end of the prompt that the text encoder does not take; empty for all but very long ones."""
        tokens = self.base.tokenizer(prompt, add_special_tokens=False).input_ids
        return self.base.tokenizer.decode(tokens[TEXT_ROWS - 1 :])

    @torch.no_grad()
    def moments(self, frames: NDArray[np.uint8]) -> Moments:
        """Frames (T, H, W, 3) to mean and spread of their normalised latents, (C, T', h, w) each."""
        pixels = torch.from_numpy(np.array(frames)).to(self._device).permute(3, 0, 1, 2)[None].float() / 127.5 - 1.0
        mean, spread = encode_moments(self.base.codec, pixels)
        return Moments(mean[0], None if spread is None else spread[0])

    def video(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Frames (T, H, W, 3) to normalised latents (C, T', h, w), the mean of their distribution."""
        return self.moments(frames).mean

    def semantic(self, crop: NDArray[np.uint8]) -> torch.Tensor:
        """A head-and-shoulders crop (H, W, 3) to (1, S, D_s)."""
        return self._semantic.encode([crop])

    def detail(self, crop: NDArray[np.uint8]) -> torch.Tensor:
        """The same crop to (1, P, D_d)."""
        return self._detail.encode([crop])

    def face(
        self, crop: NDArray[np.uint8], embedding: NDArray[np.float32], angles_deg: NDArray[np.float32] | None = None
    ) -> FaceFeatures:
        """One face to features of batch size 1.

        Args:
            crop: (H, W, 3), head and shoulders.
            embedding: (E,) of any length, by the face engine.
            angles_deg: (3,) yaw, pitch, roll; an adapter with an aligner needs them.
        """
        identity = torch.from_numpy(np.asarray(embedding, dtype=np.float32)).to(self._device)
        angles = None if angles_deg is None else torch.from_numpy(np.asarray(angles_deg, np.float32)).to(self._device)[None]
        return FaceFeatures(
            identity=F.normalize(identity[None], dim=-1),
            semantic=self.semantic(crop),
            detail=self.detail(crop),
            angles_deg=angles,
        )

    def condition(self, frames: NDArray[np.uint8]) -> Condition | None:
        """What the base is given of the clip itself, on the CPU; None: nothing. A VACE base's picture is a view's."""
        length, height, width = frames.shape[:3]
        encoder, layout = self.conditions, self.base.info.layout
        if layout == "vace":
            return Condition(control=encoder.empty_control(length, height, width).cpu())
        if layout != "i2v":
            return None
        return Condition(
            control=encoder.first_frame_control(frames[0], length).cpu(),
            image_embeds=encoder.image_embeds(frames[0]).cpu() if encoder.has_image_branch else None,
        )

    @property
    def _device(self) -> torch.device:
        return self.base.codec.device


def _vision(base: Base, config: EncoderConfig, layer: int, semantic_dir: Path | None) -> VisionEncoder:
    if config.semantic == "folder":
        if semantic_dir is None:
            raise EncoderError("the preset's semantic encoder is a folder: name one of a CLIP, SigLIP or DINOv2")
        return VisionEncoder.from_folder(semantic_dir, layer, base.codec.device)
    if base.image_encoder is None:
        raise EncoderError(f"base {base.info.name} has no image encoder: set `semantic` to folder and name one")
    weights = f"{base.digests['image_encoder']}/{base.digests['image_processor']}"
    return VisionEncoder(base.image_encoder, base.image_processor, layer, weights)


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("/".join((*parts, str(_VERSION))).encode()).hexdigest()
