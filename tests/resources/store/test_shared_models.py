"""Models of the store reach every node, checked, and every node has the same."""

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model.model_store.install import install
from model.model_store.registry import Kind, Licence
from model.model_store.store import RECORD, LicenceNotAccepted, ModelMissing, ModelStore
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.store.shared_models import ModelDiffers, SharedModelDamaged, push_models, take_model, take_models

NAME, FILE = "face_mesh", "FaceMesh.onnx"
TAKE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from model.model_store.store import ModelStore
from resources.store import shared_models
from resources.store.file_store import FileStore
shared_models._tell_unpublished = None
def die(*arguments):
    arguments[2].write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
shared_models._copy = die
home = Path(sys.argv[2])
shared_models.take_model(ModelStore(home / "models"), FileStore(sys.argv[1], home), "face_mesh")
"""
Node = Callable[[str], tuple[Settings, ModelStore, FileStore]]


@pytest.fixture(params=["s3", "folder"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    """A node of that name: its settings, its models, and the store of all nodes."""
    uri = f"s3://{request.getfixturevalue('bucket')}/lafid" if request.param == "s3" else str(tmp_path / "share")

    def make(name: str) -> tuple[Settings, ModelStore, FileStore]:
        settings = Settings(home=tmp_path / name, store_uri=uri)
        return settings, ModelStore(settings.models), FileStore(uri, settings.home)

    return make


@pytest.fixture
def add(write_network: Callable[..., Path], tmp_path: Path) -> Callable[..., None]:
    """Adds the smallest model to a node."""

    def added(models: ModelStore, constant: float = 0.0) -> None:
        install(models, NAME, [write_network(tmp_path / f"given {constant}" / FILE, Kind.FACE_MESH, constant)])

    return added


def test_every_node_gets_what_one_has_pushed(node: Node, add: Callable[..., None]) -> None:
    (_, ours, store), (settings, theirs, _) = node("one"), node("two")
    add(ours)
    assert [record.name for record in push_models(ours, store)] == [NAME]
    take_models(settings)
    assert theirs.require(NAME).record == ours.record(NAME)
    assert theirs.verify(NAME) == []


def test_terms_that_were_accepted_travel_with_a_model(node: Node, write_network: Callable[..., Path], tmp_path: Path) -> None:
    (_, ours, store), (settings, theirs, _) = node("one"), node("two")
    ours.accept(Licence.RESEARCH)
    install(ours, "scrfd_2.5g", [write_network(tmp_path / "scrfd.onnx", Kind.SCRFD)])
    push_models(ours, store, ["scrfd_2.5g"])
    take_models(settings)
    assert theirs.usable("scrfd_2.5g")
    assert theirs.licences == ours.licences


def test_what_may_not_be_used_is_not_pushed(node: Node, write_network: Callable[..., Path], tmp_path: Path) -> None:
    _, ours, store = node("one")
    ours.accept(Licence.RESEARCH)
    install(ours, "scrfd_2.5g", [write_network(tmp_path / "scrfd.onnx", Kind.SCRFD)])
    (ours.root / "accepted_licences.json").unlink()
    assert push_models(ours, store) == []
    with pytest.raises(LicenceNotAccepted):
        push_models(ours, store, ["scrfd_2.5g"])
    with pytest.raises(ModelMissing):
        push_models(ours, store, [NAME])


def test_nothing_is_made_where_nothing_was_pushed(node: Node) -> None:
    settings, models, store = node("one")
    take_models(settings)
    assert take_model(models, store, NAME) is None
    assert not settings.home.exists()


def test_torn_push_is_no_model_and_is_pushed_again(node: Node, add: Callable[..., None]) -> None:
    (_, ours, store), (settings, theirs, _) = node("one"), node("two")
    add(ours)
    push_models(ours, store)
    store.remove(f"models/{NAME}/{RECORD}")
    take_models(settings)
    assert not theirs.present(NAME)
    push_models(ours, store)
    take_models(settings)
    assert theirs.verify(NAME) == []


def test_file_that_is_not_the_pushed_one_reaches_nobody(node: Node, add: Callable[..., None]) -> None:
    (_, ours, store), (settings, theirs, _) = node("one"), node("two")
    add(ours)
    push_models(ours, store)
    store.write_bytes(f"models/{NAME}/{FILE}", b"other")
    with pytest.raises(SharedModelDamaged, match=rf"/{FILE} is not the file that was pushed .*`lafid models push {NAME}`"):
        take_models(settings)
    assert not theirs.present(NAME)
    store.write_bytes(f"models/{NAME}/{RECORD}", b"{")
    with pytest.raises(SharedModelDamaged, match="no record of a model: delete .*and run"):
        take_models(settings)


def test_two_versions_of_one_model_are_told(node: Node, add: Callable[..., None]) -> None:
    (_, ours, store), (settings, theirs, _) = node("one"), node("two")
    add(ours)
    add(theirs, 1.0)
    push_models(ours, store)
    with pytest.raises(ModelDiffers, match=f"the model {NAME} in .*two.* is another version .*delete the one that is not meant"):
        take_models(settings)
    with pytest.raises(ModelDiffers):
        push_models(theirs, store)


def test_unpublished_file_is_told_on_every_node(node: Node, add: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    (_, ours, store), (settings, _, _) = node("one"), node("two")
    add(ours)
    push_models(ours, store)
    with caplog.at_level(logging.WARNING, "lafid.models"):
        take_models(settings)
    assert f"{FILE} of model {NAME} in {store.uri} is not the published file" in caplog.text


def test_model_that_this_version_does_not_know_is_left_there(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    settings, _, store = node("one")
    store.write_bytes("models/of_tomorrow/record.json", b"{}")
    with caplog.at_level(logging.WARNING, "lafid.models"):
        take_models(settings)
    assert "models/of_tomorrow is a model that this version does not know" in caplog.text


def test_killed_take_leaves_no_model(node: Node, add: Callable[..., None]) -> None:
    (_, ours, store), (settings, theirs, _) = node("one"), node("two")
    add(ours)
    push_models(ours, store)
    ended = subprocess.run([sys.executable, "-c", TAKE_AND_DIE, store.uri, str(settings.home)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not theirs.present(NAME)
    take_models(settings)
    assert theirs.verify(NAME) == []
