"""The frozen image encoders behind the semantic and the detail expert: pictures in, features out, each with a fingerprint.

Belongs here: running a vision transformer or a VAE on crops of faces. Not here: identity, whose frozen encoder is the face
engine itself (its embedding comes with the face, its fingerprint is `EngineInfo.fingerprint`); projections that train
(`face_branch.experts`).

A vision transformer is any folder that `save_pretrained` wrote of CLIP, SigLIP, SigLIP 2 or DINOv2, with its image processor:
classes of transformers alone. ConsisID's EVA-CLIP is not among them: transformers has no class for it, and the libraries that
have (timm, open_clip) are not in the project's lock.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, CLIPVisionModel, Dinov2Model, Siglip2VisionModel, SiglipVisionModel

from model.bases.codec import encode_moments
from model.bases.components import made_up, no_progress_bars, own_memory
from model.face_engine.interface import Image
from model.files import sha256_file
from model.untrusted_files import MOST_SIDE_PX, check_config, check_numbers, check_own, read_json, stored_shapes
from model.wording import first_few

# By the `model_type` of the folder's config (`model_store.registry.VISION_TYPES`).
_VISION_CLASSES: dict[str, Any] = {
    "clip": CLIPVisionModel,
    "clip_vision_model": CLIPVisionModel,
    "siglip": SiglipVisionModel,
    "siglip_vision_model": SiglipVisionModel,
    "siglip2_vision_model": Siglip2VisionModel,
    "dinov2": Dinov2Model,
}


class EncoderError(ValueError):
    """An encoder's folder cannot be used; the message names it and the remedy."""


class FaceEncoder(Protocol):
    """Frozen and deterministic."""

    @property
    def fingerprint(self) -> str:
        """Names weights and preprocessing; equal fingerprints give equal tensors."""
        ...

    def encode(self, images: Sequence[Image]) -> torch.Tensor:
        """Crops (H, W, 3) uint8 RGB of any sizes to (N, tokens, width)."""
        ...


class VisionEncoder:
    """One hidden state of a vision transformer.

    Args:
        network: of transformers, with `output_hidden_states`.
        processor: its image processor.
        layer: which hidden state; 0 is the embedding, -1 the last block's. Wan2.1's own image branch takes -2 (less bent to
            CLIP's text objective); a low one keeps texture and colour, for the detail expert.
        weights_sha256: what names the weights.
    """

    def __init__(self, network: Any, processor: Any, layer: int, weights_sha256: str) -> None:
        states = network.config.num_hidden_layers + 1
        if not -states <= layer < states:
            raise EncoderError(f"{type(network).__name__} has hidden states 0 to {states - 1}, there is no number {layer}")
        self.network = network
        self.processor = processor
        self.layer = layer
        self._weights_sha256 = weights_sha256

    @classmethod
    def from_folder(cls, folder: Path, layer: int, device: torch.device | str) -> Self:
        """What `save_pretrained` of model and processor wrote into `folder`.

        Raises:
            EncoderError: there is none, or of another kind, or not all of it.
        """
        if not (folder / "config.json").is_file():
            raise EncoderError(
                f"{folder} holds no vision encoder (config.json is missing): name the folder of one, or `lafid models fetch` it"
            )
        try:
            told = read_json(folder / "config.json")
            kind = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).model_type
        except (OSError, ValueError, AttributeError) as error:
            raise EncoderError(f"{folder} holds no vision encoder: {error}") from error
        if kind not in _VISION_CLASSES:
            known = ", ".join(sorted(_VISION_CLASSES))
            raise EncoderError(f"{folder} holds a {kind}, which is no vision encoder known here: use one of {known}")
        try:
            check_config(told, stored_shapes(folder), lambda: _outline(_VISION_CLASSES[kind], folder), folder / "config.json")
            with no_progress_bars():
                network, loading = _VISION_CLASSES[kind].from_pretrained(
                    folder, output_loading_info=True, use_safetensors=True, local_files_only=True, dtype=torch.float32
                )
            preprocessing = folder / "preprocessor_config.json"
            check_own(read_json(preprocessing), preprocessing)
            check_numbers(read_json(preprocessing), MOST_SIDE_PX, preprocessing)
            processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise EncoderError(f"{folder} cannot be loaded: {error}") from error
        if lacking := made_up(loading):
            raise EncoderError(f"{folder} lacks {first_few(lacking, 5)}: fetch it again")
        own_memory(network)
        return cls(network.to(device).eval().requires_grad_(False), processor, layer, _digest_of(folder))

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"vision/{self._weights_sha256}/{self.layer}".encode()).hexdigest()

    @torch.no_grad()
    def encode(self, images: Sequence[Image]) -> torch.Tensor:
        """(N, tokens, width): patches, and what other tokens the network has."""
        pixels = self.processor(images=list(images), return_tensors="pt").to(self.network.device)
        return self.network(**pixels, output_hidden_states=True).hidden_states[self.layer]


class LatentEncoder:
    """The VAE's latents of a square crop: every detail that the base itself can draw.

    Args:
        codec: the base's.
        side_px: of the crop; a multiple of the VAE's factor.
        weights_sha256: what names the weights.
    """

    def __init__(self, codec: ModelMixin, side_px: int, weights_sha256: str) -> None:
        factor = codec.config.scale_factor_spatial
        if side_px % factor:
            raise EncoderError(f"crops of {side_px} px do not divide into latents of {factor} px: choose a multiple")
        self.codec = codec
        self.side_px = side_px
        self._weights_sha256 = weights_sha256

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"latents/{self._weights_sha256}/{self.side_px}".encode()).hexdigest()

    @torch.no_grad()
    def encode(self, images: Sequence[Image]) -> torch.Tensor:
        """(N, h * w, C), normalised."""
        stills = torch.cat([self._square(image) for image in images])
        return encode_moments(self.codec, stills[:, :, None]).mean[:, :, 0].flatten(2).transpose(1, 2)

    def _square(self, image: Image) -> torch.Tensor:
        """(1, 3, side, side) in [-1, 1]."""
        pixels = torch.from_numpy(np.array(image)).to(self.codec.device).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        size = (self.side_px, self.side_px)
        return F.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)


def _outline(kind: Any, folder: Path) -> nn.Module:
    return kind(kind.config_class.from_pretrained(folder, local_files_only=True))


def _digest_of(folder: Path) -> str:
    """Over what is read of the folder, whatever else lies in it (a record of the model store, a licence)."""
    digest = hashlib.sha256()
    for path in sorted((folder / "config.json", folder / "preprocessor_config.json", *folder.glob("*.safetensors"))):
        if path.is_file():
            digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()
