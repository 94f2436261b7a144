"""Which models make up an insightface engine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model.face_engine.selection import check_names, choose_parts, lacking
from model.model_store.install import install
from model.model_store.registry import Kind, Licence, ModelUnknown
from model.model_store.store import LICENCES, LicenceNotAccepted, ModelMissing, ModelStore

GIVEN = {
    "scrfd_500m": (Kind.SCRFD,),
    "scrfd_2.5g": (Kind.SCRFD,),
    "arcface_mobilefacenet_insightface": (Kind.ARCFACE,),
    "face_mesh": (Kind.FACE_MESH,),
    "buffalo_s": (Kind.SCRFD, Kind.ARCFACE, Kind.LANDMARKS_106),
}


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.accept(Licence.RESEARCH)
    return store


@pytest.fixture
def add(models: ModelStore, write_network: Callable[..., Path], tmp_path: Path) -> Callable[..., None]:
    def add_all(*names: str) -> None:
        for name in names:
            folder = tmp_path / "given" / name
            if name == "fsanet":
                for half in ("1x1", "var"):
                    write_network(folder / f"fsanet-{half}-iter-688590.onnx", Kind.FSANET)
                install(models, name, sorted(folder.iterdir()))
                continue
            files = [write_network(folder / f"{kind}.onnx", kind) for kind in GIVEN[name]]
            install(models, name, files)

    return add_all


SMALL = ("scrfd_500m", "arcface_mobilefacenet_insightface", "fsanet")


def test_what_is_lacking_is_said_part_by_part(models: ModelStore, add: Callable[..., None]) -> None:
    assert lacking(models) == ["no detector", "no embedder", "no head pose"]
    add("scrfd_500m", "fsanet")
    assert lacking(models) == ["no embedder"]
    add("arcface_mobilefacenet_insightface")
    assert lacking(models) == []
    (models.root / LICENCES).unlink()
    assert lacking(models) == [
        "the licence of scrfd_500m is not accepted",
        "the licence of arcface_mobilefacenet_insightface is not accepted",
    ]


def test_auto_takes_the_first_that_is_there(models: ModelStore, add: Callable[..., None]) -> None:
    add(*SMALL)
    assert choose_parts(models).summary == (
        "detector scrfd_500m, embedder arcface_mobilefacenet_insightface, head pose fsanet, mouth none"
    )
    add("scrfd_2.5g", "face_mesh")
    assert choose_parts(models).detector.entry.name == "scrfd_2.5g"
    assert choose_parts(models).summary.endswith("mouth face_mesh")
    add("buffalo_s")
    parts = choose_parts(models)
    assert parts.detector.entry.name == parts.embedder.entry.name == "buffalo_s"


def test_what_else_lies_in_a_pack_is_run_only_when_asked_for(models: ModelStore, add: Callable[..., None]) -> None:
    add("buffalo_s", "fsanet")
    assert choose_parts(models).mouth is None
    asked = choose_parts(models, mouth="2d106").mouth
    assert asked is not None
    assert asked.entry.name == "buffalo_s"
    assert choose_parts(models, mouth="none").mouth is None


def test_a_named_model_is_taken_or_missed(models: ModelStore, add: Callable[..., None]) -> None:
    add(*SMALL, "scrfd_2.5g")
    assert choose_parts(models, detector="scrfd_500m").detector.entry.name == "scrfd_500m"
    for part in ({"embedder": "buffalo_l"}, {"head_pose": "6drepnet"}, {"mouth": "face_mesh"}, {"mouth": "2d106"}):
        (name,) = part.values()
        with pytest.raises(ModelMissing, match=f"the model {name} "):
            choose_parts(models, **part)


def test_nothing_there_is_one_line(models: ModelStore) -> None:
    with pytest.raises(
        ModelMissing, match=f"no detector is in the model store {models.root}: add one of buffalo_l, .*lafid models"
    ):
        choose_parts(models)


def test_terms_that_were_not_accepted_are_named(models: ModelStore, add: Callable[..., None]) -> None:
    add(*SMALL)
    (models.root / LICENCES).unlink()
    with pytest.raises(LicenceNotAccepted, match="scrfd_500m comes under non-commercial-research"):
        choose_parts(models)


def test_the_licence_is_the_strictest_of_the_parts(models: ModelStore, add: Callable[..., None]) -> None:
    add(*SMALL, "face_mesh")
    parts = choose_parts(models)
    assert [str(part.entry.licence) for part in parts.all] == ["non-commercial-research"] * 2 + ["MIT", "Apache-2.0"]
    assert parts.licence is Licence.RESEARCH


@pytest.mark.parametrize(
    ("part", "name"), [("detector", "fsanet"), ("embedder", "scrfd_2.5g"), ("head_pose", "none"), ("mouth", "dlib")]
)
def test_a_name_of_another_part_is_refused(part: str, name: str) -> None:
    with pytest.raises(ModelUnknown, match=f"there is no {part} '{name}': choose one of auto, "):
        check_names(**{part: name})
