"""Leakage: whether a model has seen what a bench asks it for.

Belongs here: a bench and the clips of a training -> what they share, and why each counts. Not here: which clips a model was
trained on, and from which cosine on two persons are one (`lafid_assets.release.judgement`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from model.evaluation.bench import Bench, Person

Kind = Literal["content", "recording", "identity", "likeness"]
"""The same clip or file; another shot of the same recording, unless it is known to show somebody else; the same person by name; a
person who looks the same. The surest first: a person leaks to a clip in one way, the first that holds."""


@dataclass(frozen=True, eq=False)
class TrainedClip:
    """A clip that a model was trained on.

    Attributes:
        content_sha256: of its file; of a shot its recording's.
        recording_id: the recording that it is a shot of; None: it is the whole file.
        engine: by which `embedding` was measured.
        embedding: mean of its face, of unit length.
    """

    clip_id: str
    content_sha256: str
    recording_id: str | None
    identity_id: str
    engine: str
    embedding: NDArray[np.float32]


class Leak(NamedTuple):
    """A person of the bench whom the model knows; every case that shows the person leaks."""

    identity_id: str
    kind: Kind
    trained_clip_id: str
    sentence: str


def find_leaks(bench: Bench, trained: Sequence[TrainedClip], same_person_cosine: float | None) -> list[Leak]:
    """What `bench` shares with a training: of each person at most one leak of each kind, with the clip of the smallest id.

    Likeness is told of persons of whom nothing surer is known, and only by embeddings of the bench's own engine.

    Args:
        same_person_cosine: from which on two persons of that engine look the same; None: likeness is not asked, and nobody is
            known to be somebody else.
    """
    in_order = sorted(trained, key=lambda clip: clip.clip_id)
    comparable = [clip for clip in in_order if clip.engine == bench.engine.name and len(clip.embedding) == bench.engine.width]
    looks = np.array([clip.embedding for clip in comparable], np.float32).reshape(-1, bench.engine.width)
    found = []
    for person in bench.persons:
        cosines = looks @ _direction(person)
        alike = {clip.clip_id: float(cosine) for clip, cosine in zip(comparable, cosines, strict=True)}
        sure: dict[Kind, TrainedClip] = {}
        for clip in in_order:
            cosine = alike.get(clip.clip_id)
            is_other = same_person_cosine is not None and cosine is not None and cosine < same_person_cosine
            if (kind := _shared(person, clip, is_known_other=is_other)) is not None:
                sure.setdefault(kind, clip)
        found += [_leak(person, kind, sure[kind]) for kind in get_args(Kind) if kind in sure]
        if not sure and same_person_cosine is not None and alike:
            nearest = comparable[int(cosines.argmax())]
            if (cosine := alike[nearest.clip_id]) >= same_person_cosine:
                found.append(_leak(person, "likeness", nearest, f"{cosine:.3f}, {same_person_cosine:.3f} being one person"))
    return found


def _shared(person: Person, clip: TrainedClip, *, is_known_other: bool) -> Kind | None:
    of_same_file = [own for own in person.clips if own.content_sha256 == clip.content_sha256]
    if any(own.clip_id == clip.clip_id or None in (own.recording_id, clip.recording_id) for own in of_same_file):
        return "content"
    recordings = {own.recording_id or own.clip_id for own in person.clips}
    of_same_recording = bool(of_same_file) or (clip.recording_id or clip.clip_id) in recordings
    if of_same_recording and not (is_known_other and clip.identity_id != person.identity_id):
        return "recording"
    return "identity" if clip.identity_id == person.identity_id else None


def _direction(person: Person) -> NDArray[np.float64]:
    mean = np.mean([face.embedding for face in person.gallery], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def _leak(person: Person, kind: Kind, clip: TrainedClip, likeness: str = "") -> Leak:
    why = {
        "content": "is the same footage as one of this person's clips",
        "recording": "is a part of the same recording as one of this person's clips",
        "identity": "shows this person",
        "likeness": f"shows a face with a cosine of {likeness}",
    }[kind]
    sentence = f"{person.identity_id} is known to the model: its training clip {clip.clip_id} {why}"
    return Leak(person.identity_id, kind, clip.clip_id, sentence)
