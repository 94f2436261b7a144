"""Choosing a face engine by config. Every engine stands behind `model.face_engine.interface.FaceEngine`.

Belongs here: the config that names an engine and its models, and where this installation keeps models. Not here: which models
`auto` takes (`model.face_engine.selection`), an engine (`model.face_engine`).

Whatever takes a choice raises what `load_face_engine` does.
"""

from pydantic import Field

from model.face_engine.interface import EngineInfo, FaceEngine
from model.face_engine.selection import AUTO, NONE, Parts, check_names, choose_parts, lacking
from model.model_store.registry import ModelUnknown
from model.model_store.store import ModelStore
from model.strict import StrictModel
from resources.gpu import gpu_environments
from resources.settings import Settings

ENGINES = ("auto", "dlib", "insightface")


class EngineUnknown(ValueError):
    """No engine or model of that name; the message lists those that there are."""


class EngineChoice(StrictModel):
    """Which engine looks at faces, and with which models of the model store (`lafid models list`)."""

    engine: str = Field(
        "auto",
        description="Face engine: auto (insightface where the model store holds what it needs, else dlib), dlib, insightface",
    )
    detector: str = Field(
        "auto", description="insightface's detector: auto, or the name of a detector or pack in the model store"
    )
    embedder: str = Field("auto", description="insightface's identity model: auto, or the name of an embedder or pack")
    head_pose: str = Field("auto", description="insightface's head pose: auto (6drepnet where it is present), 6drepnet, fsanet")
    mouth: str = Field("auto", description="insightface's lip landmarks: auto (face_mesh where present), none, face_mesh, 2d106")
    detection_side_px: int = Field(
        640,
        ge=160,
        le=2560,
        multiple_of=32,
        description="Longer side of a frame in the detector; 320 costs SCRFD a quarter, and changes boxes and faces",
    )


def model_store() -> ModelStore:
    """Where this installation keeps third-party weights; a child process finds it by the same environment."""
    return ModelStore(Settings.from_environment().models)


def load_face_engine(choice: EngineChoice | str) -> FaceEngine:
    """The engine of that choice; a name stands for that engine with its default models.

    Raises:
        EngineUnknown: there is no engine or model of that name.
        ModelMissing: insightface was asked for and the store lacks a model.
        LicenceNotAccepted: the terms of a model were not accepted.
    """
    choice, parts = _made_of(choice)
    if parts is None:
        return _dlib(choice)
    from model.face_engine.insightface_engine import InsightfaceEngine, InsightfaceSettings

    return InsightfaceEngine(parts, InsightfaceSettings(detection_side_px=choice.detection_side_px))


def face_engine_info(choice: EngineChoice | str) -> EngineInfo:
    """What `load_face_engine` of that choice would record with its measurements; no network is loaded."""
    choice, parts = _made_of(choice)
    if parts is None:
        return _dlib(choice).info
    from model.face_engine.insightface_engine import InsightfaceSettings, describe

    return describe(parts, InsightfaceSettings(detection_side_px=choice.detection_side_px))


def engine_reason(choice: EngineChoice | str) -> str:
    """Why it is this engine, in words, for every row that it makes."""
    choice, parts = _made_of(choice)
    if choice.engine != AUTO:
        return f"asked for: {parts.summary}" if parts else "asked for"
    if parts is None:
        return f"auto: the model store lacks what insightface needs ({', '.join(lacking(model_store()))})"
    why = "its models were asked for" if _named(choice) else "the model store holds what insightface needs"
    return f"auto: {why}: {parts.summary}"


def chosen_engine(choice: EngineChoice) -> dict[str, str | None]:
    """Lines of `EngineChoice` as they come out on this machine: whoever asks for `auto` here and by name there has the same."""
    info = face_engine_info(choice)
    return dict.fromkeys(_models(choice)) | {"engine": f"{info.name} {info.version}", "engine_fingerprint": info.fingerprint}


def gpu_feeders(choice: EngineChoice | str) -> list[dict[str, str]]:
    """Environments of the children that feed the engine, one a GPU, which is all that its child sees; empty where the engine
    runs on the CPU."""
    if _made_of(choice)[1] is None:
        return []
    from model.face_engine.onnx_session import gpu_count

    return gpu_environments(gpu_count())


def _dlib(choice: EngineChoice) -> FaceEngine:
    from model.face_engine.dlib_engine import DlibEngine, DlibSettings

    return DlibEngine(DlibSettings(detection_side_px=choice.detection_side_px))


def _made_of(choice: EngineChoice | str) -> tuple[EngineChoice, Parts | None]:
    """The choice, checked, and insightface's models; None where the engine is dlib. To name a model is to ask for insightface."""
    choice, store = _checked(choice), model_store()
    if choice.engine == "dlib" or (choice.engine == AUTO and not _named(choice) and lacking(store)):
        return choice, None
    return choice, choose_parts(store, **_models(choice))


def _models(choice: EngineChoice) -> dict[str, str]:
    return {"detector": choice.detector, "embedder": choice.embedder, "head_pose": choice.head_pose, "mouth": choice.mouth}


def _named(choice: EngineChoice) -> dict[str, str]:
    """The parts for which one certain model was asked."""
    return {part: name for part, name in _models(choice).items() if name not in (AUTO, NONE)}


def _checked(choice: EngineChoice | str) -> EngineChoice:
    choice = EngineChoice(engine=choice) if isinstance(choice, str) else choice
    if choice.engine not in ENGINES:
        raise EngineUnknown(f"there is no face engine {choice.engine!r}: choose one of {', '.join(ENGINES)}")
    try:
        check_names(**_models(choice))
    except ModelUnknown as error:
        raise EngineUnknown(str(error)) from error
    if choice.engine == "dlib" and _named(choice):
        part, name = next(iter(_named(choice).items()))
        raise EngineUnknown(f"dlib brings its own models and takes no {part} {name!r}: choose the engine insightface, or auto")
    return choice
