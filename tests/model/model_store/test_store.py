"""What is present, whose terms are accepted, and whether files are as they arrived."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model.model_store.install import install
from model.model_store.registry import Kind, Licence, ModelUnknown
from model.model_store.store import LICENCES, RECORD, LicenceNotAccepted, ModelMissing, ModelStore, StoreDamaged

WriteNetwork = Callable[..., Path]


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def scrfd(models: ModelStore, write_network: WriteNetwork, tmp_path: Path) -> ModelStore:
    models.accept(Licence.RESEARCH)
    install(models, "scrfd_2.5g", [write_network(tmp_path / "given" / "scrfd.onnx", Kind.SCRFD)])
    return models


def test_a_missing_model_is_one_line_with_place_and_remedy(models: ModelStore) -> None:
    with pytest.raises(ModelMissing) as raised:
        models.require("fsanet")
    message = str(raised.value)
    assert "\n" not in message
    assert str(models.folder("fsanet")) in message
    assert "`lafid models fetch fsanet`" in message
    assert "`lafid models add fsanet fsanet-1x1-iter-688590.onnx fsanet-var-iter-688590.onnx`" in message


def test_a_model_without_an_address_is_not_offered_for_fetching(models: ModelStore) -> None:
    with pytest.raises(ModelMissing) as raised:
        models.record("arcface_mobilefacenet_foamliu")
    assert "fetch" not in str(raised.value)


def test_an_unknown_model_is_no_missing_one(models: ModelStore) -> None:
    with pytest.raises(ModelUnknown):
        models.require("yolo")


def test_a_present_model_gives_its_networks(scrfd: ModelStore) -> None:
    ((path, file),) = scrfd.require("scrfd_2.5g").networks(Kind.SCRFD)
    assert path == scrfd.folder("scrfd_2.5g") / "scrfd_2.5g_bnkps.onnx"
    assert path.stat().st_size == file.size_bytes
    assert scrfd.require("scrfd_2.5g").networks(Kind.ARCFACE) == []
    assert scrfd.usable("scrfd_2.5g")
    assert not scrfd.usable("scrfd_500m")


def test_without_acceptance_a_model_is_present_and_not_usable(scrfd: ModelStore) -> None:
    (scrfd.root / LICENCES).unlink()
    assert scrfd.present("scrfd_2.5g")
    assert not scrfd.usable("scrfd_2.5g")
    with pytest.raises(LicenceNotAccepted, match="To accept: lafid models accept non-commercial-research"):
        scrfd.require("scrfd_2.5g")


def test_acceptance_is_recorded_once_and_for_all_later_stores_there(models: ModelStore) -> None:
    assert not models.accepted(Licence.RESEARCH)
    assert models.accepted(Licence.MIT)
    models.accept(Licence.RESEARCH)
    first = (models.root / LICENCES).read_text()
    ModelStore(models.root).accept(Licence.RESEARCH)
    assert (models.root / LICENCES).read_text() == first
    assert ModelStore(models.root).accepted(Licence.RESEARCH)


def test_a_changed_file_is_told_and_not_loaded(scrfd: ModelStore) -> None:
    assert scrfd.verify("scrfd_2.5g") == []
    path = scrfd.folder("scrfd_2.5g") / "scrfd_2.5g_bnkps.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    assert scrfd.verify("scrfd_2.5g") == [f"{path} has changed since it was added"]
    with pytest.raises(StoreDamaged, match="is not the file that was added: delete .* and add scrfd_2.5g again"):
        scrfd.require("scrfd_2.5g")
    path.unlink()
    assert scrfd.verify("scrfd_2.5g") == [f"{path} is missing"]
    with pytest.raises(StoreDamaged):
        scrfd.require("scrfd_2.5g")


@pytest.mark.parametrize("name", [RECORD, LICENCES])
def test_a_damaged_book_is_named(scrfd: ModelStore, name: str) -> None:
    path = scrfd.folder("scrfd_2.5g") / RECORD if name == RECORD else scrfd.root / LICENCES
    path.write_text("{")
    with pytest.raises(StoreDamaged, match=f"{name} is damaged: delete"):
        scrfd.require("scrfd_2.5g")
