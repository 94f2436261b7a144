"""The card of a model: what it is, what it was made of, how good it is, what one may do with it, all of it from its own records.

Belongs here: those words. Not here: the folder that it lies in (`pulled_folder`), measuring, licences (others recorded both).
"""

import re
from collections.abc import Iterable, Mapping

from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.face_branch.trainable import LORA, WEIGHTS
from model.model_store.registry import ModelUnknown, find_entry
from model.release.checkpoint import Manifest

_LICENCES = "licence"
"""Part of the names of the tags that hold licences: `lafid.licences`, `lafid.licences.clips`, ..."""

_HELD_OUT = ("test_", "validation_")
"""How the names of measures begin that tell how good a model is; training logs many others."""


def model_card(manifest: Manifest, tags: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """README.md of a pulled model; tags and metrics are the registered version's, none where it comes from a folder."""
    preset, base = manifest.preset, manifest.base
    blocks = [
        _front_matter(manifest),
        f"# {preset.name}, step {manifest.step}",
        "An adapter for a frozen Wan video model that draws a given person and keeps who it is through changes of pose and "
        "expression. Trained by LaFID.",
        "## Made of",
        _table(("", ""), _facts(manifest, tags)),
        "## Use",
        _use(manifest),
        "## Measures",
        "Higher is better unless the name says loss. What was not measured is not listed.",
        _table(("measure", "value"), _measures(manifest, metrics)),
        "## Licences by part",
        _table(("part", "terms"), _licences(manifest, tags)),
        "## Intended use",
        "Research on video of people who agreed to be drawn. Say that such a video is generated wherever it is shown.",
        "## Limits",
        "\n".join(
            f"- {limit}"
            for limit in (
                f"It fits base {base.name} of sha256 {base.sha256[:12]} and no other; diffusers does not check that.",
                "Do not draw people who did not agree, and do not pass its videos off as recordings.",
                f"It knows people by {manifest.face_engine.name}'s embeddings: where that engine finds no face, or takes two "
                "people for one, so does the model.",
                "It is as biased as the clips it was trained on. The measures are of held-out persons of that same footage.",
                f"It was trained on clips of {preset.clip.frames} frames of {preset.clip.width} x {preset.clip.height} at "
                f"{preset.clip.fps:g} a second; others may be worse.",
            )
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _front_matter(manifest: Manifest) -> str:
    lines = ["library_name: diffusers", "pipeline_tag: image-to-video", "tags: [lora, wan, identity, lafid]"]
    if manifest.base.repository is not None:
        lines.insert(0, f"base_model: {manifest.base.repository}")
    return "\n".join(("---", *lines, "---"))


def _facts(manifest: Manifest, tags: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    base, preset = manifest.base, manifest.preset
    address = f"{base.repository} at commit {base.revision}" if base.repository else "built by LaFID, travels with its model"
    yield "base", f"{base.name} ({address}), sha256 {base.sha256}"
    yield "dataset version", manifest.dataset_version
    yield "trained", f"{preset.train.trainable}, {manifest.step} steps, seed {manifest.seed}"
    yield "parts", ", ".join(f"{part} {sha256[:12]}" for part, sha256 in sorted(manifest.parts.items()))
    yield "face engine", f"{manifest.face_engine.name} {manifest.face_engine.version}"
    yield "heads cut out by", str(manifest.head_mask)
    if preset.encoders.semantic == "folder":
        yield "vision encoder", "one of its own, beside the base: give its folder as `semantic_dir`"
    yield from ((name, value) for name, value in sorted(tags.items()) if name.startswith("lafid.") and _LICENCES not in name)


def _use(manifest: Manifest) -> str:
    base, second = manifest.base, manifest.base.boundary is not None
    begins = base.layout in FIRST_FRAME_LAYOUTS
    kind = "WanImageToVideoPipeline" if begins else "DiffusionPipeline"
    half = ["transformer", *(["transformer_2"] if second else []), "text_encoder"]
    coarse = ", ".join(['"default": torch.float32', *(f'"{name}": torch.bfloat16' for name in half)])
    dtype = f"dtype={{{coarse}}}, " if manifest.preset.train.precision == "bfloat16" else ""
    lines = [f'pipe = {kind}.from_pretrained("{base.repository or "BASE"}", {dtype}use_safetensors=True)']
    if LORA in manifest.parts:
        lines.append('pipe.load_lora_weights("lora", use_safetensors=True)')
        if second:
            lines.append('pipe.load_lora_weights("lora_2", use_safetensors=True, load_into_transformer_2=True)')
    settings = ', semantic_dir="CLIP"' if manifest.preset.encoders.semantic == "folder" else ""
    given = {"vace": "reference_images=[crop], ", "t2v": ""}.get(base.layout, 'image=Image.open("first_frame.jpg"), ')
    clip = manifest.preset.clip
    lines += [
        f"face = load_face_branch(pipe{settings})",
        ("crop = " if base.layout == "vace" else "") + 'face.show([Image.open("photo.jpg")])',
        f'frames = pipe({given}prompt="...", height={clip.height}, width={clip.width}, num_frames={clip.frames}).frames[0]',
    ]
    told = ["In plain diffusers, from within this folder:", "```python", "import torch", f"from diffusers import {kind}"]
    told += ["from PIL import Image", "from load_face_branch import load_face_branch", "", *lines, "```"]
    if base.repository is None:
        told.append(
            "Its base has no public address and lies in `base/` where the registry had it: with `code/` on the path, "
            '`model.bases.base.load_base(Path("base")).image_to_video()` is that pipeline.'
        )
    if WEIGHTS in manifest.parts:
        told.append("`load_face_branch` also sets the weights of the base that were trained (`weights/`).")
    if LORA in manifest.parts:
        told.append("ComfyUI reads `comfyui/*.safetensors`: the LoRA alone, without the face branch.")
    told.append("`lafid generate --model DIR` takes this folder as it is.")
    return "\n".join(told)


def _measures(manifest: Manifest, metrics: Mapping[str, float]) -> Iterable[tuple[str, str]]:
    found: dict[str, float | None] = {"loss_before": manifest.loss_before, "loss_after": manifest.loss_after}
    if manifest.validation_loss is not None:
        found[f"loss_on_{manifest.validated_on}"] = manifest.validation_loss
    if manifest.likeness is not None:
        found |= manifest.likeness.figures()
    found |= {name: value for name, value in metrics.items() if name.startswith(_HELD_OUT)}
    yield from ((name, f"{value:.4g}") for name, value in found.items() if value is not None)


def _licences(manifest: Manifest, tags: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    base = manifest.base
    yield "base", f"that of {base.repository}" if base.repository else "MIT (random weights of LaFID's own making)"
    yield "face engine, which drawing needs", _terms(manifest.face_engine.name.rpartition("/")[2])
    if manifest.head_mask.sha256 is not None:
        yield "mask, which drawing needs", _terms(manifest.head_mask.name)
    told = [part for name, value in sorted(tags.items()) if _LICENCES in name for part in value.split("; ")]
    for part in told or ["not recorded here, ask whoever trained it"]:
        named, _, terms = part.rpartition(": ")
        yield named or "clips and what measured them", terms
    yield "code", "MIT"


def _terms(name: str) -> str:
    try:
        entry = find_entry(name)
    except ModelUnknown:
        return f"{name}: see the package's own"
    return f"{name}: {entry.licence} ({entry.source})"


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"| {_cell(left)} | {_cell(right)} |" for left, right in (head, ("---", "---"), *rows))


def _cell(text: str) -> str:
    """A tag's value is whatever somebody wrote: it stays in its cell, and is text without links and pictures."""
    return re.sub(r"[|<\[\]\\]", lambda sign: f"&#{ord(sign[0])};", " ".join(text.split()))
