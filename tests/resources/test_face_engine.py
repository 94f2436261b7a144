"""Which engine a choice means, and why."""

import os
import subprocess
import sys

import pytest

from model.face_engine.insightface_engine import InsightfaceEngine
from model.model_store.store import LicenceNotAccepted, ModelMissing, ModelStore
from resources.face_engine import (
    ENGINES,
    EngineChoice,
    EngineUnknown,
    engine_reason,
    face_engine_info,
    gpu_feeders,
    load_face_engine,
    model_store,
)
from resources.settings import PROJECT_ROOT


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path) -> ModelStore:
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "models"))
    return model_store()


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch, real_store: ModelStore) -> ModelStore:
    monkeypatch.setenv("LAFID_MODELS", str(real_store.root))
    return model_store()


def test_auto_is_dlib_where_the_store_is_empty(empty: ModelStore) -> None:
    info = face_engine_info("auto")
    assert info == face_engine_info("dlib") == face_engine_info(EngineChoice())
    assert (info.name, info.embedding_dim) == ("dlib", 128)
    assert info.licence
    assert info.fingerprint
    assert engine_reason("auto") == "auto: the model store lacks what insightface needs (no detector, no embedder, no head pose)"
    assert engine_reason("dlib") == "asked for"


def test_auto_is_insightface_where_its_models_are(filled: ModelStore) -> None:
    info = face_engine_info("auto")
    assert info == face_engine_info("insightface")
    assert info.name == "insightface/arcface_mobilefacenet_foamliu"
    assert isinstance(load_face_engine("auto"), InsightfaceEngine)
    reason = engine_reason("auto")
    assert reason.startswith("auto: the model store holds what insightface needs: detector scrfd_2.5g, embedder arcface_mobile")
    assert engine_reason("insightface").startswith("asked for: detector scrfd_2.5g")
    assert face_engine_info("dlib").name == "dlib"


def test_the_parts_can_be_named(filled: ModelStore) -> None:
    choice = EngineChoice(detector="scrfd_500m", embedder="arcface_mobilefacenet_insightface", head_pose="fsanet", mouth="none")
    assert face_engine_info(choice).name == "insightface/arcface_mobilefacenet_insightface"
    assert engine_reason(choice) == (
        "auto: its models were asked for: detector scrfd_500m, embedder arcface_mobilefacenet_insightface, "
        "head pose fsanet, mouth none"
    )
    assert load_face_engine(choice).info == face_engine_info(choice)


def test_a_named_model_that_is_missing_is_never_replaced(empty: ModelStore) -> None:
    for choice in (EngineChoice(embedder="buffalo_l"), EngineChoice(engine="insightface", detector="buffalo_l")):
        with pytest.raises(ModelMissing, match="buffalo_l|no detector"):
            load_face_engine(choice)
    with pytest.raises(ModelMissing, match="no detector is in the model store"):
        face_engine_info("insightface")


def test_terms_that_were_not_accepted_are_one_line(filled: ModelStore, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    unaccepted = tmp_path / "models"
    unaccepted.mkdir()
    for name in ("scrfd_2.5g", "arcface_mobilefacenet_foamliu", "fsanet"):
        (unaccepted / name).symlink_to(filled.folder(name))
    monkeypatch.setenv("LAFID_MODELS", str(unaccepted))
    with pytest.raises(LicenceNotAccepted, match="lafid models accept non-commercial-research"):
        load_face_engine("insightface")
    assert "the licence of scrfd_2.5g is not accepted" in engine_reason("auto")


def test_unknown_engine_is_named_with_the_choices() -> None:
    with pytest.raises(EngineUnknown, match="there is no face engine 'magic': choose one of auto, dlib, insightface"):
        face_engine_info("magic")
    assert ENGINES == ("auto", "dlib", "insightface")


@pytest.mark.parametrize("part", ["detector", "embedder", "head_pose", "mouth"])
def test_unknown_models_are_named_with_the_choices(part: str) -> None:
    with pytest.raises(EngineUnknown, match=f"there is no {part} 'magic': choose one of auto, "):
        engine_reason(EngineChoice(**{part: "magic"}))


def test_dlib_takes_no_models_of_the_store() -> None:
    with pytest.raises(EngineUnknown, match="dlib brings its own models and takes no head_pose 'fsanet'"):
        load_face_engine(EngineChoice(engine="dlib", head_pose="fsanet"))


def test_the_detectors_input_is_a_choice_of_both_engines(filled: ModelStore) -> None:
    for engine in ("dlib", "insightface"):
        small = EngineChoice(engine=engine, detection_side_px=320)
        assert load_face_engine(small).settings.detection_side_px == 320
        assert face_engine_info(small) == load_face_engine(small).info
        assert face_engine_info(small).fingerprint != face_engine_info(engine).fingerprint
    with pytest.raises(ValueError, match="multiple of 32"):
        EngineChoice(detection_side_px=333)


def test_a_child_process_finds_the_same_store(filled: ModelStore) -> None:
    code = "from resources.face_engine import face_engine_info; print(face_engine_info('auto').fingerprint)"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == face_engine_info("auto").fingerprint


@pytest.mark.parametrize(
    ("visible", "count", "feeders"), [(None, 0, []), (None, 2, ["0", "1"]), ("5,GPU-3fa9", 2, ["5", "GPU-3fa9"]), ("", 0, [])]
)
def test_one_child_feeds_each_gpu_and_sees_no_other(
    filled: ModelStore, monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int, feeders: list[str]
) -> None:
    monkeypatch.setattr("model.face_engine.onnx_session.gpu_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_feeders("insightface") == [{"CUDA_VISIBLE_DEVICES": name} for name in feeders]
    assert gpu_feeders("dlib") == []
