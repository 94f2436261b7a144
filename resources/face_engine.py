"""Choosing a face engine by name. Every engine stands behind `model.face_engine.interface.FaceEngine`.

Belongs here: which engines there are and which one `auto` means. Not here: an engine (`model.face_engine`).
"""

from model.face_engine.interface import EngineInfo, FaceEngine

ENGINES = ("auto", "dlib")


class EngineUnknown(ValueError):
    """No engine of that name; the message lists those that there are."""


def load_face_engine(name: str) -> FaceEngine:
    """The engine of that name; `auto` is dlib, the one whose weights arrive with the packages.

    Raises:
        EngineUnknown: there is no such engine.
    """
    if name not in ENGINES:
        raise EngineUnknown(f"there is no face engine {name!r}: choose one of {', '.join(ENGINES)}")
    from model.face_engine.dlib_engine import DlibEngine

    return DlibEngine()


def face_engine_info(name: str) -> EngineInfo:
    """What `load_face_engine(name)` would record with its measurements.

    Raises:
        EngineUnknown: there is no such engine.
    """
    return load_face_engine(name).info
