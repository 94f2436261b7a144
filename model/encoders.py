"""Everything frozen, run once: text, clip and face to the tensors that training and inference both read.

Belongs here: the calls of the base's encoders, so that a cached clip and a live request go through the same code. Not here:
anything that trains (`experts`, `fusion`), finding the face (`face_processor`), the file format (`data`).
"""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.base import Base
from model.codec import normalise
from model.data import ClipLatents, ClipMeta
from model.experts import FaceFeatures
from model.presets import TEXT_ROWS

_VERSION = 1
"""Raise it when the same input is to give other tensors: caches are keyed by the fingerprint."""


class ClipEncoders:
    """The frozen encoders of one base. Deterministic; without gradients; results on the base's device."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._pipeline = base.image_to_video()

    @property
    def fingerprint(self) -> str:
        """Names weights and preprocessing; equal fingerprints give equal tensors."""
        return hashlib.sha256(f"{self.base.info.sha256}/{_VERSION}".encode()).hexdigest()

    @torch.no_grad()
    def text(self, prompt: str) -> torch.Tensor:
        """(L, D): the real rows of the prompt's encoding, at most 512; pad with zeros to read them."""
        padded, _ = self._pipeline.encode_prompt(
            prompt, do_classifier_free_guidance=False, max_sequence_length=TEXT_ROWS, device=self._device
        )
        real = int(padded[0].any(dim=-1).sum())
        return padded[0, :real]

    def unread(self, prompt: str) -> str:
        """The end of the prompt that the text encoder does not take; empty for all but very long ones."""
        tokens = self.base.tokenizer(prompt, add_special_tokens=False).input_ids
        return self.base.tokenizer.decode(tokens[TEXT_ROWS - 1 :])

    @torch.no_grad()
    def video(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Frames (T, H, W, 3) to normalised latents (C, T', h, w)."""
        latents = self.base.codec.encode(self._pixels(frames)).latent_dist.mode()
        return normalise(self.base.codec, latents)[0]

    @torch.no_grad()
    def face(self, crop: NDArray[np.uint8], embedding: NDArray[np.float32]) -> FaceFeatures:
        """A head-and-shoulders crop (H, W, 3) and its identity embedding (E,) to features of batch size 1."""
        identity = torch.from_numpy(np.asarray(embedding, dtype=np.float32)).to(self._device)
        pixels = self.base.image_processor(images=crop, return_tensors="pt").to(self._device)
        # The last hidden state but one, as Wan2.1's own image branch takes it: less bent to CLIP's text objective.
        semantic = self.base.image_encoder(**pixels, output_hidden_states=True).hidden_states[-2]
        side = self.base.image_encoder.config.image_size
        still = F.interpolate(
            self._pixels(crop[None])[:, :, 0], size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )
        detail = normalise(self.base.codec, self.base.codec.encode(still[:, :, None]).latent_dist.mode())
        return FaceFeatures(
            identity=F.normalize(identity[None], dim=-1),
            semantic=semantic,
            detail=detail[:, :, 0].flatten(2).transpose(1, 2),  # (1, h * w, C)
        )

    def encode_clip(
        self,
        frames: NDArray[np.uint8],
        crop: NDArray[np.uint8],
        embedding: NDArray[np.float32],
        meta: ClipMeta,
    ) -> ClipLatents:
        """All that training reads of one clip, on the CPU.

        Args:
            frames: (T, H, W, 3) at the preset's size and rate (`video_io.read_frames`, `video_io.fit_frames`).
            crop: (h, w, 3), the reference as `face_processor.head_and_shoulders` cuts it.
            embedding: (E,), the reference's identity by the engine that `meta` names.
            meta: what the file says about itself; its caption is the one encoded.
        """
        face = self.face(crop, embedding)
        return ClipLatents(
            latents=self.video(frames).cpu(),
            text=self.text(meta.caption).cpu(),
            null_text=self.text("").cpu(),
            identity=face.identity[0].cpu(),
            semantic=face.semantic[0].cpu(),
            detail=face.detail[0].cpu(),
            meta=meta,
        )

    @property
    def _device(self) -> torch.device:
        return self.base.codec.device

    def _pixels(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """(T, H, W, 3) uint8 to (1, 3, T, H, W) in [-1, 1]."""
        video = torch.from_numpy(np.array(frames)).to(self._device).permute(3, 0, 1, 2)[None]
        return video.float() / 127.5 - 1.0
