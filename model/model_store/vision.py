"""Which vision encoder looks at faces where the preset wants a folder: one that is named, else the model store's.

Belongs here: the choice. Not here: running the encoder (`model.encoding.face_encoders`), the store (`store`).
"""

from pathlib import Path

from model.model_store.registry import REGISTRY, Kind
from model.model_store.store import ModelMissing, ModelStore


class VisionAmbiguous(LookupError):
    """The store holds several vision encoders; the message lists them."""


def vision_name(store: ModelStore, folder: Path) -> str:
    """The name by which `named_vision` finds a folder again: one of the store's on any machine."""
    return folder.name if folder.parent == store.root else str(folder)


def named_vision(store: ModelStore, name: str) -> Path:
    """The folder that `vision_name` named.

    Raises:
        ModelMissing, LicenceNotAccepted, StoreDamaged: as `ModelStore.require`, of one of the store's.
    """
    return store.require(name).folder if name in _names() else Path(name)


def vision_folder(store: ModelStore, asked: str | None = None) -> Path:
    """The folder of a CLIP, SigLIP or DINOv2.

    Args:
        asked: a name in the registry, or a folder; None: the only one that the store holds.

    Raises:
        ModelMissing: the store has none, or not the one that was asked for.
        VisionAmbiguous: nothing was asked for, and there are several.
        LicenceNotAccepted, StoreDamaged: as `ModelStore.require`.
    """
    names = _names()
    if asked in names:
        return store.require(asked).folder
    if asked is not None:
        if not Path(asked).is_dir():
            raise ModelMissing(f"there is no vision encoder {asked!r}: name a folder, or one of {', '.join(names)}")
        return Path(asked).absolute()
    held = [name for name in names if store.usable(name)]
    if not held:
        raise ModelMissing(
            f"the preset's semantic encoder is a folder of its own, and {store.root} holds none: `lafid models fetch {names[0]}` "
            f"(or {', '.join(names[1:])}), or name the folder of one, with its config.json, as semantic_encoder"
        )
    if len(held) > 1:
        raise VisionAmbiguous(f"{store.root} holds several vision encoders: name one of {', '.join(held)}")
    return store.require(held[0]).folder


def _names() -> list[str]:
    return [entry.name for entry in REGISTRY if entry.kind is Kind.VISION]
