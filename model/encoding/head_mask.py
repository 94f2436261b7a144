"""What separates head and shoulders from what is behind them: a matting network of the model store, else an oval.

Belongs here: masks, the choice of one, and the name by which rows and checkpoints say which it was. Not here: the crop's frame
and its white (`face_processor`), getting weights (`model_store`).

CoFE's figure shows a head-and-shoulders crop whose background is white and does not say how it was cut out. MODNet (Ke et al.
2020, arXiv 2011.11961) gives the opacity of every pixel of a portrait; it also keeps a neighbour who stands in the crop. The oval
needs no network: an ellipse around the head, tilted as the landmarks tilt, and one around the shoulders; it keeps what lies
between hair and oval.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from pydantic import Field

from model.face_engine.interface import Box, Image
from model.model_store.location import models_folder
from model.model_store.registry import REGISTRY, Kind, ModelUnknown, find_entry
from model.model_store.store import ModelMissing, ModelStore, StoreDamaged
from model.strict import StrictModel

AUTO, OVAL = "auto", "oval"
MASKS = (OVAL, *(entry.name for entry in REGISTRY if entry.kind is Kind.MATTING))
"""What a row may name as its mask."""

MATTING_SIDE_PX = 512
"""The side at which MODNet was trained; a graph of a fixed size is fed that."""
# MODNet takes RGB in -1..1.
_GREY, _HALF_RANGE = 127.5, 127.5

# The oval in sides of the box, from the middle between eyes and mouth, y towards the chin: (x, y) and half axes.
_HEAD = ((0.0, -0.1), (0.85, 1.0))
_SHOULDERS = ((0.0, 1.5), (1.25, 0.8))


class MaskUnusable(ValueError):
    """Heads cannot be cut out by the mask that is asked for; the message says what is missing and how to get it."""


class MaskInfo(StrictModel):
    """Which mask it was: what rows, fingerprints and checkpoints say."""

    name: str = Field(OVAL, description="oval, or the name of a model in the registry")
    sha256: str | None = Field(None, description="over the network's weights; None of the oval, which has none")

    def __str__(self) -> str:
        return self.name if self.sha256 is None else f"{self.name} {self.sha256[:12]}"


class CropFrame(NamedTuple):
    """Where a square crop lies in its picture, and the face in it.

    Attributes:
        left, top: the crop's first pixel.
        box: of the face, in pixels of the picture.
        points: (5, 2), eyes, nose and mouth corners in pixels of the picture; None where they are not known.
    """

    left: int
    top: int
    box: Box
    points: NDArray[np.float64] | None


class HeadMask(Protocol):
    """Opacity of the person in a crop. Deterministic; one instance serves one thread."""

    @property
    def info(self) -> MaskInfo: ...

    def opacity(self, crop: Image, frame: CropFrame) -> NDArray[np.float32]:
        """(S, S) in 0..1 of a crop (S, S, 3) uint8 RGB, white where it reaches over the picture's edge."""
        ...


class OvalMask:
    """Head and shoulders as two ellipses: 1 within, 0 outside."""

    info = MaskInfo()

    def opacity(self, crop: Image, frame: CropFrame) -> NDArray[np.float32]:
        """(S, S) (`HeadMask.opacity`)."""
        x1, y1, x2, y2 = frame.box
        face_side = max(x2 - x1, y2 - y1)
        middle, down = np.array(((x1 + x2) / 2, (y1 + y2) / 2)), np.array((0.0, 1.0))
        if frame.points is not None:
            eyes, mouth = frame.points[:2].mean(axis=0), frame.points[3:].mean(axis=0)
            length = float(np.linalg.norm(mouth - eyes))
            middle, down = (eyes + mouth) / 2, (mouth - eyes) / length if length > 0 else down
        steps = np.arange(len(crop)) + 0.5
        grid = np.stack(np.meshgrid(steps, steps), axis=-1) + np.array((frame.left, frame.top)) - middle
        tilted = np.stack([grid @ np.array((down[1], -down[0])), grid @ down], axis=-1) / face_side
        # Shoulders stay level when the head tilts.
        inside = _within(tilted, *_HEAD) | _within(grid / face_side, *_SHOULDERS)
        return inside.astype(np.float32)


class MattingMask:
    """A portrait matting network (`Kind.MATTING`)."""

    def __init__(self, path: Path, info: MaskInfo) -> None:
        self._path = path
        self.info = info

    def opacity(self, crop: Image, frame: CropFrame) -> NDArray[np.float32]:
        """(S, S) (`HeadMask.opacity`)."""
        given = self._session.get_inputs()[0]
        height, width = (side if isinstance(side, int) else MATTING_SIDE_PX for side in given.shape[2:])
        resized = np.asarray(PilImage.fromarray(crop).resize((width, height), PilImage.Resampling.BICUBIC), np.float32)
        batch = ((resized - _GREY) / _HALF_RANGE).transpose(2, 0, 1)[None]
        opacity = np.asarray(self._session.run(None, {given.name: np.ascontiguousarray(batch)})[0][0, 0], np.float32)
        whole = PilImage.fromarray(opacity).resize((len(crop), len(crop)), PilImage.Resampling.BILINEAR)
        return np.clip(np.asarray(whole), 0.0, 1.0)

    @cached_property
    def _session(self) -> Any:
        try:
            from model.face_engine.onnx_session import open_session

            return open_session(self._path)
        except ImportError as error:
            raise MaskUnusable(f"the mask {self.info} runs by onnxruntime: pip install onnxruntime ({error})") from error


@dataclass(frozen=True)
class MaskChoice:
    """A mask that can be made, as plain values that cross a process border.

    Attributes:
        path: of the network; None of the oval.
        licence: of its weights; None of the oval.
        reason: why it is this one.
    """

    info: MaskInfo
    path: Path | None
    licence: str | None
    reason: str


def choose_mask(name: str, store: ModelStore) -> MaskChoice:
    """The mask that config means.

    Args:
        name: "auto" (the first matting network that the store holds, else the oval), "oval", or a name in the registry.

    Raises:
        MaskUnusable: there is no such mask.
        ModelMissing, LicenceNotAccepted, StoreDamaged: the network cannot be used; the message says how it can.
    """
    if name not in (AUTO, *MASKS):
        raise MaskUnusable(f"there is no mask {name!r}: choose one of {', '.join((AUTO, *MASKS))}")
    if name == OVAL:
        return MaskChoice(MaskInfo(), None, None, "asked for")
    held = [other for other in MASKS if other != OVAL and store.usable(other)]
    if name == AUTO and not held:
        return MaskChoice(MaskInfo(), None, None, f"auto: the model store holds no matting network ({', '.join(MASKS[1:])})")
    model = store.require(held[0] if name == AUTO else name)
    [(path, file)] = model.networks(Kind.MATTING)
    info = MaskInfo(name=model.entry.name, sha256=file.sha256)
    return MaskChoice(info, path, str(model.entry.licence), "auto: the model store holds it" if name == AUTO else "asked for")


@lru_cache(maxsize=1)
def open_mask(choice: MaskChoice) -> HeadMask:
    """The mask, its network opened once a process."""
    return OvalMask() if choice.path is None else MattingMask(choice.path, choice.info)


def mask_of(info: MaskInfo, store: ModelStore | None = None) -> HeadMask:
    """The very mask by which a checkpoint's heads were cut out; another one would show the model crops that it never saw.

    Args:
        store: this installation's, unless given.

    Raises:
        MaskUnusable: its network is not here, its terms were not accepted, or other weights bear its name.
    """
    store = store or ModelStore(models_folder())
    try:
        choice = choose_mask(info.name, store)
    except (ModelMissing, ModelUnknown, StoreDamaged, PermissionError) as error:
        raise MaskUnusable(f"heads were cut out by {info} when the model was trained: {error}") from error
    if choice.info != info:
        raise MaskUnusable(
            f"heads were cut out by {info} when the model was trained, {store.folder(info.name)} holds {choice.info}: "
            f"replace it by the file of that hash ({find_entry(info.name).source})"
        )
    return open_mask(choice)


def _within(at: NDArray[np.float64], centre: tuple[float, float], half_axes: tuple[float, float]) -> NDArray[np.bool_]:
    return (((at - np.array(centre)) / np.array(half_axes)) ** 2).sum(axis=-1) <= 1.0
