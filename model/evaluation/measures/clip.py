"""CLIP ViT-B/32: how well frames go with the prompt, and with one another.

Belongs here: running CLIP, CLIPScore in RGB and as ConsisID has it, the similarity of neighbouring frames. Not here: the vision
encoders that condition models (`model.encoding.face_encoders`).

ConsisID's eval/get_clipscore.py (read 2026-11-29) hands OpenCV's frames, blue first, to a network that wants red first, and
takes frames int(i T / 16); `consisid_clip_score` does the same. Both scores are 100 times a cosine, by the trained logit scale;
prompts are cut to 77 tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPModel, CLIPProcessor

from model.bases.components import made_up, no_progress_bars
from model.evaluation.measures.curricular_face import WeightsUnfit
from model.evaluation.measures.record import Absent, DrawnVideo
from model.wording import first_few

FRAMES: Final = 16
_BATCH: Final = 32


class TransformersClip:
    """CLIP by transformers."""

    def __init__(self, network: Any, processor: Any, device: Any) -> None:
        self._network = network.to(device)
        self._processor = processor
        self._device = device

    @classmethod
    def from_folder(cls, folder: Path, device: Any) -> Self:
        """What `save_pretrained` of model and processor wrote, or what the hub gives.

        Raises:
            WeightsUnfit: the folder holds no CLIP, or not all of it.
        """
        try:
            with no_progress_bars():
                network, told = CLIPModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
                processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise WeightsUnfit(f"{folder} does not hold a CLIP: {str(error).splitlines()[0]}") from error
        if lacking := made_up(told):
            raise WeightsUnfit(f"{folder} does not hold a whole CLIP: {first_few(lacking, 5)} lacking")
        return cls(network.eval().requires_grad_(False), processor, device)

    def logits(self, prompt: str, frames_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N,) of the prompt and each of (N, H, W, 3) frames."""
        found = [outputs.logits_per_image[:, 0] for outputs in self._outputs(prompt, frames_rgb)]
        return np.concatenate([of.cpu().numpy() for of in found])

    def pictures(self, frames_rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, D) of unit length."""
        return np.concatenate([outputs.image_embeds.cpu().numpy() for outputs in self._outputs("", frames_rgb)])

    def _outputs(self, prompt: str, frames_rgb: NDArray[np.uint8]) -> Sequence[Any]:
        longest, found = self._network.config.text_config.max_position_embeddings, []
        for start in range(0, len(frames_rgb), _BATCH):
            inputs = self._processor(
                text=prompt,
                images=list(np.ascontiguousarray(frames_rgb[start : start + _BATCH])),
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=longest,
            )
            with torch.no_grad():
                found.append(self._network(**inputs.to(self._device)))
        return found


def clip_score(video: DrawnVideo) -> float:
    """CLIPScore of ViT-B/32: the prompt and 16 drawn frames in RGB."""
    return _score(video, video.drawn)


def consisid_clip_score(video: DrawnVideo) -> float:
    """CLIPScore by ConsisID's code: 16 frames, the given one among them, with red and blue exchanged."""
    return _score(video, video.frames[..., ::-1])


def clip_temporal_consistency(video: DrawnVideo) -> float:
    """Mean cosine of CLIP's picture features of neighbouring drawn frames."""
    network = video.networks.clip
    if len(video.drawn) < 2:
        raise Absent("it takes two drawn frames")
    units = network.pictures(video.drawn)
    return float((units[1:] * units[:-1]).sum(axis=1).mean())


def _score(video: DrawnVideo, frames: NDArray[np.uint8]) -> float:
    network = video.networks.clip
    if not video.prompt.strip():
        raise Absent("the case has no prompt")
    if not len(frames):
        raise Absent("no frame was drawn beside the given one")
    chosen = [number * len(frames) // FRAMES for number in range(FRAMES)]
    return float(network.logits(video.prompt, frames[chosen]).mean())
