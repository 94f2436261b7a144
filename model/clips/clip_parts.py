"""What is frozen of one clip, as parts that are cached apart: each changes when what it depends on does, and only then.

Belongs here: the parts, their tensors' names and shapes. Not here: how the tensors come about (`encoding.encoders`), under which
key they lie (curation), the files (`latent_shards`, `clip_list`), batches of them (`clip_set`).

| part | tensors | depends on |
|---|---|---|
| video | mean, spread | the clip, its cut, the VAE |
| text, text_plain, text_empty | rows | a text, the text encoder |
| face | identity, boxes | what curation measured |
| semantic | states | the crops, the vision encoder |
| detail | tokens | the crops, the detail encoder |
| views | latents | the crops, the VAE |
| control | latents | i2v: the clip's first frame, its cut, the VAE; VACE: size and VAE alone, so that clips share it |
| image_embeds | rows | the clip's first frame, the base's CLIP |
| picture | latents | the crops, the clip's size, the VAE |

The last three are what the base is given of pictures (`conditions.Condition`), where it takes some. What is of crops has a row a
view: first those that are spread over pose and expression, last the face of the clip's first frame. Spread, states and tokens lie
in bfloat16, which keeps three of their digits in half the bytes. Control, image_embeds and views are
given to the transformer as they are, so they lie in the dtype to which the stock pipelines cast them for it, and rows of text in
their encoder's. Mean and picture are mixed with noise in float32 before, and stay as the VAE gives them. How each view is turned
stands in the clip list, which is in memory: drawing views opens no shard.
"""

import torch

from model.clips.latent_shards import Tensors

CONDITION_TENSORS = {"control": "latents", "image_embeds": "rows"}
"""Parts of a condition that are the clip's own, which are its fields, and the name of the one tensor in each."""


def video_part(mean: torch.Tensor, spread: torch.Tensor | None) -> Tensors:
    """Mean and spread (C, T', h, w), both normalised."""
    return _present(mean=mean, spread=None if spread is None else spread.bfloat16())


def text_part(rows: torch.Tensor) -> Tensors:
    """Real rows (L, D) of an encoded text."""
    return {"rows": rows}


def face_part(identity: torch.Tensor, boxes: torch.Tensor | None) -> Tensors:
    """Identity (V, E), of unit length; boxes (T', 4)."""
    return _present(identity=identity, boxes=boxes)


def semantic_part(states: torch.Tensor) -> Tensors:
    """(V, S, D_s)."""
    return {"states": states.bfloat16()}


def detail_part(tokens: torch.Tensor) -> Tensors:
    """(V, P, D_d)."""
    return {"tokens": tokens.bfloat16()}


def views_part(latents: torch.Tensor, dtype: torch.dtype | None = None) -> Tensors:
    """(V, C, h, w), in the transformer's dtype where that is given."""
    return {"latents": latents.to(dtype)}


def picture_part(latents: torch.Tensor) -> Tensors:
    """(V, C, 1, h, w)."""
    return {"latents": latents}


def condition_part(part: str, field: torch.Tensor, dtype: torch.dtype | None = None) -> Tensors:
    """A field of a condition, batch size 1, in the transformer's dtype where that is given; the part is named after it."""
    return {CONDITION_TENSORS[part]: field[0].to(dtype)}


def _present(**tensors: torch.Tensor | None) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}
