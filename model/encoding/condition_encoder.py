"""From pictures to a base's condition, by the code of the stock pipeline that will draw with it.

Belongs here: the calls of diffusers' pipelines that encode a first frame or a person's picture. Not here: what the transformer
is given (`bases.conditions`), text and face (`encoders`).
"""

from contextlib import nullcontext
from functools import lru_cache

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from PIL import Image

from model.bases.base import Base
from model.bases.stock_pipelines import stock_pipeline
from model.encoding.still_frames import left_out_where_still

_SIZES = 16
"""Sizes of clips whose empty control is kept."""


class ConditionEncoder:
    """The pictures of one clip to what its base is given of them: tensors of batch size 1 on the base's device.

    Args:
        base: of any layout; what a layout is given is said at the methods.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._pipeline = stock_pipeline(base, base.transformers, first_frame=base.info.layout == "i2v", offload_to=None)
        self._empty = lru_cache(maxsize=_SIZES)(self._encode_empty)

    @property
    def has_image_branch(self) -> bool:
        """Whether the base reads CLIP's rows of a first frame."""
        return self._base.transformer.config.image_dim is not None

    @torch.no_grad()
    def first_frame_control(self, first: NDArray[np.uint8], frames: int) -> torch.Tensor:
        """(1, C, T, h, w), for an image-to-video base: of a clip of so many `frames`, the first of which (H, W, 3) is known."""
        height, width = first.shape[:2]
        pixels = self._pipeline.video_processor.preprocess(Image.fromarray(first), height=height, width=width)
        codec = self._base.codec
        with left_out_where_still(codec.encoder) if isinstance(codec, AutoencoderKLWan) else nullcontext():
            _, given = self._pipeline.prepare_latents(
                pixels.to(self._device, torch.float32),
                batch_size=1,
                num_channels_latents=self._channels,
                height=height,
                width=width,
                num_frames=frames,
                dtype=torch.float32,
                device=self._device,
                latents=torch.empty(0, device=self._device),  # else it draws some, and from torch's own generator
            )
        return given[:, -self._channels :]

    @torch.no_grad()
    def image_embeds(self, first: NDArray[np.uint8]) -> torch.Tensor:
        """(1, rows, width) of the first frame (H, W, 3), for a base with an image branch."""
        return self._pipeline.encode_image(Image.fromarray(first), self._device)

    def empty_control(self, frames: int, height: int, width: int) -> torch.Tensor:
        """(1, C, T, h, w), for a VACE base: of a clip of which nothing is known."""
        return self._empty(frames, height, width)

    @torch.no_grad()
    def picture(self, crop: NDArray[np.uint8], height: int, width: int) -> torch.Tensor:
        """(1, C, 1, h, w) of a picture (H, W, 3) of any size, fitted into the clip's on white, for VACE."""
        return self._encode_vace([Image.fromarray(crop)], 1, height, width)[:, : self._channels, :1]

    @torch.no_grad()
    def _encode_empty(self, frames: int, height: int, width: int) -> torch.Tensor:
        return self._encode_vace(None, frames, height, width)[:, : self._channels]

    def _encode_vace(self, pictures: list[Image.Image] | None, frames: int, height: int, width: int) -> torch.Tensor:
        """(1, 2C, pictures + T, h, w)."""
        video, mask, shown = self._pipeline.preprocess_conditions(
            None, None, pictures, 1, height, width, frames, torch.float32, self._device
        )
        return self._pipeline.prepare_video_latents(video, mask, shown, None, self._device)

    @property
    def _channels(self) -> int:
        return int(self._base.codec.config.z_dim)

    @property
    def _device(self) -> torch.device:
        return self._base.codec.device
