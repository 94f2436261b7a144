"""How many bytes the cached parts of a clip take, told before any is encoded.

Belongs here: sizes of parts from a preset's numbers. Not here: the parts themselves (`clip_parts`). Loads no torch.
"""

from model.clip_size import Bucket
from model.presets import CLIP_IMAGE_ROWS, Preset

USUAL_TEXT_ROWS = 150
"""Text rows of a refined caption of some 100 words; a part of text lies without its padding."""


def part_bytes(chosen: Preset, bucket: Bucket, views: int) -> dict[str, int]:
    """Part to its bytes, for a clip of this size; of text what it usually takes. What clips share (VACE's control) is left out.

    Args:
        views: of the clip's face, that of the first frame among them.
    """
    spec, features = chosen.base, chosen.features
    number = 2 if chosen.train.precision == "bfloat16" else 4
    still = spec.latent_channels * (bucket.height // spec.spatial_factor) * (bucket.width // spec.spatial_factor)
    latents = still * (1 + (bucket.frames - 1) // spec.temporal_factor)
    view = spec.latent_channels * (chosen.clip.view_side // spec.spatial_factor) ** 2
    found = {
        "video": (4 + 2) * latents,
        "text": number * USUAL_TEXT_ROWS * spec.transformer.text_dim,
        "text_plain": number * USUAL_TEXT_ROWS * spec.transformer.text_dim,
        "face": 4 * (views * features.identity_width + 4 * bucket.frames),
        "semantic": 2 * views * features.semantic_tokens * features.semantic_width,
        "detail": 2 * views * features.detail_tokens * features.detail_width,
        "views": number * views * view,
    }
    if spec.layout == "i2v":
        found["control"] = number * latents
    if spec.transformer.image_dim is not None:
        found["image_embeds"] = number * CLIP_IMAGE_ROWS * spec.transformer.image_dim
    if spec.layout == "vace":
        found["picture"] = 4 * views * still
    return found
