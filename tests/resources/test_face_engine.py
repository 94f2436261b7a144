"""Which engines there are."""

import pytest

from resources.face_engine import ENGINES, EngineUnknown, face_engine_info


def test_auto_is_dlib() -> None:
    info = face_engine_info("auto")
    assert info == face_engine_info("dlib")
    assert (info.name, info.embedding_dim) == ("dlib", 128)
    assert info.licence
    assert info.fingerprint


def test_unknown_engine_is_named_with_the_choices() -> None:
    with pytest.raises(EngineUnknown, match="there is no face engine 'magic': choose one of auto, dlib"):
        face_engine_info("magic")
    assert ENGINES == ("auto", "dlib")
