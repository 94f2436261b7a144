"""Looking at what a bench may be made of, in a child process: first frames of clips, and pictures of persons.

Belongs here: one task -> what the face engine says of it. Not here: which clips and pictures (`bench_choice`), the processes and
the bench (`bench_building`).
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image as PilImage

from lafid_assets.dataset.references import LEAST_SCALES, STEP
from lafid_assets.faces.sampling import frames_at
from lafid_assets.ingest.media_probe import unchanged
from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.release.bench_choice import CandidatePicture, Expression, Moment, WantedPerson, sharpest_frontal
from lafid_assets.workers.exit_reasons import Fault
from model.encoding.footage import Footage
from model.encoding.head_mask import OvalMask
from model.evaluation.bench import png_of
from model.face_engine.interface import Box, FaceEngine, Image
from model.face_engine.rotations import rotation_from_angles
from model.face_engine.view_spread import expression_gaps, farthest_first, pose_gaps_deg
from model.likeness import expression_shares, main_face
from resources.face_engine import EngineChoice, load_face_engine
from resources.store.file_store import FileStore

MOST_TRIED = 16
"""Frames of a clip that are looked at, at most, to find one that can condition a model."""
MOST_IN_GALLERY, MOST_PHOTOS = 12, 4
GALLERY_SHARE = 2 / 3
"""Share of a person's pictures; the others are photos, so that no model is measured against a picture that it was given."""


class FirstFrameTask(NamedTuple):
    """A clip whose first frame is looked for.

    Attributes:
        engine: the name under which the dataset knows it.
        moments: where the main face was seen, those that come into question alone.
    """

    clip_id: str
    footage: Footage | None
    content_sha256: str
    duration_s: float
    moments: tuple[Moment, ...]
    engine: str


class FirstFrame(NamedTuple):
    """A whole frame that can condition a model."""

    clip_id: str
    moment: Moment
    png: bytes
    width: int
    height: int


class LooksTask(NamedTuple):
    """A person whose pictures are looked at."""

    person: WantedPerson
    store_uri: str
    engine: str
    with_photos: bool


class SeenPicture(NamedTuple):
    """A picture that shows the person's face again, as the engine measures it there."""

    picture: CandidatePicture
    png: bytes
    angles_deg: tuple[float, float, float] | None
    expression: Expression | None
    embedding: tuple[float, ...]


class Looks(NamedTuple):
    """A person's gallery in order, and photos (clip, PNG) that are none of it."""

    identity_id: str
    gallery: tuple[SeenPicture, ...]
    photos: tuple[tuple[str, bytes], ...]


def engine_choice(name: str) -> EngineChoice:
    """What asks for the engine that rows of the dataset name."""
    family, _, embedder = name.partition("/")
    return EngineChoice(engine=family, embedder=embedder) if embedder else EngineChoice(engine=family)


def find_first_frame(task: FirstFrameTask) -> FirstFrame | Fault | None:
    """The first of the moments whose frame, as inference sees it, shows the main face as the largest, with a pose.

    None where the clip can be read and no frame does.
    """
    engine = _engine(task.engine)
    try:
        footage = unchanged(task.footage, task.content_sha256)
        for batch in _batches(task.moments[:MOST_TRIED]):
            frames = frames_at(footage, {moment.frame_index for moment in batch})
            for moment in batch:
                frame = frames[moment.frame_index]
                if conditions(frame, moment.box, engine):
                    return FirstFrame(task.clip_id, moment, png_of(frame), frame.shape[1], frame.shape[0])
    except ClipError as error:
        return Fault(Status.ERROR, error.reason, error.detail)
    except OSError as error:
        return Fault(Status.ERROR, Reason.UNREADABLE, f"it cannot be read: {error.strerror}")
    return None


def conditions(frame: Image, box: Box, engine: FaceEngine) -> bool:
    """Whether a model can be given a frame and takes the face in `box` for the person: it is the largest, with a known pose."""
    from model.encoding.face_processor import FaceError, process_face

    try:
        face = process_face(frame, engine, OvalMask(), "largest")
    except FaceError:
        return False
    return face.angles is not None and _middle_lies_in(face.box_xyxy_px, box)


def look_at(task: LooksTask) -> Looks:
    """Those of a person's pictures that show the face again, in the order of a gallery; and those that are left, as photos."""
    engine, store = _engine(task.engine), FileStore(task.store_uri)
    seen = [found for picture in task.person.pictures if (found := _seen(picture, engine, store)) is not None]
    if not seen:
        return Looks(task.person.identity_id, (), ())
    order = gallery_order(seen)
    kept = order[: min(MOST_IN_GALLERY, math.ceil(GALLERY_SHARE * len(seen)))] if task.with_photos else order
    left = dict.fromkeys([*order, *range(len(seen))] if task.with_photos else [])
    photos = islice(_photos([seen[index].picture for index in left if index not in kept], engine, store), MOST_PHOTOS)
    return Looks(task.person.identity_id, tuple(seen[index] for index in kept), tuple(photos))


def gallery_order(seen: Sequence[SeenPicture]) -> list[int]:
    """A sharp frontal picture, then each as far in pose and expression as can be from all before it; what shows nothing new is
    left out."""
    known = [index for index, one in enumerate(seen) if one.angles_deg is not None]
    if not known:
        return [int(np.argmax([one.picture.sharpness for one in seen]))]
    angles = np.array([seen[index].angles_deg for index in known])
    sharpness = np.array([seen[index].picture.sharpness for index in known])
    gaps = {
        "pose": pose_gaps_deg(rotation_from_angles(*angles.T)),
        "expression": expression_gaps([seen[index].embedding for index in known]),
    }
    apart = np.mean([gap / max(gap.max(), LEAST_SCALES[name]) for name, gap in gaps.items()], axis=0)
    order = farthest_first(apart, [sharpest_frontal(angles[:, 0], sharpness)], len(known), sharpness, STEP)
    return [known[place] for place in order]


def _photos(pictures: Iterable[CandidatePicture], engine: FaceEngine, store: FileStore) -> Iterator[tuple[str, bytes]]:
    """Heads on white, as training has references, that show a face to the engine."""
    for picture in pictures:
        if store.exists(picture.head_path) and _shows_a_face(_opened(png := store.read_bytes(picture.head_path)), engine):
            yield picture.clip_id, png


def _shows_a_face(photo: Image, engine: FaceEngine) -> bool:
    face = main_face(engine.detect(photo))
    return face is not None and face.angles is not None


def _seen(picture: CandidatePicture, engine: FaceEngine, store: FileStore) -> SeenPicture | None:
    """None where the picture is gone, or the face in its middle is not found in it again."""
    if not store.exists(picture.face_path):
        return None
    image = _opened(png := store.read_bytes(picture.face_path))
    face = main_face(engine.detect(image))
    height, width = image.shape[:2]
    inner = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)  # the picture was cut around the face
    if face is None or face.embedding is None or not _middle_lies_in(face.box_xyxy_px, inner):
        return None
    known = expression_shares(face)
    shares = None if known is None else tuple(map(float, known))
    angles = None if face.angles is None else (face.angles.yaw_deg, face.angles.pitch_deg, face.angles.roll_deg)
    return SeenPicture(picture, png, angles, shares, tuple(face.embedding.astype(float).tolist()))


def _middle_lies_in(face: Box, box: Box) -> bool:
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _batches(moments: Sequence[Moment]) -> Iterator[Sequence[Moment]]:
    """Twice as many each time: decoding begins anew for each, and frames of all at once would not fit."""
    begin, size = 0, 1
    while begin < len(moments):
        yield moments[begin : begin + size]
        begin, size = begin + size, 2 * size


def _opened(png: bytes) -> Image:
    with PilImage.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


@lru_cache(maxsize=1)
def _engine(name: str) -> FaceEngine:
    return load_face_engine(engine_choice(name))
