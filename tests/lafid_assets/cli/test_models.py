"""`lafid models`: what it shows, asks and refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.model_store.registry import REGISTRY, Kind
from model.model_store.store import ModelStore

Lafid = Callable[..., Any]
WriteNetwork = Callable[..., Path]


@pytest.fixture
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setenv("LAFID_HOME", "")
    monkeypatch.delenv("LAFID_HOME")
    return ModelStore(home / "models")


@pytest.fixture
def scrfd(write_network: WriteNetwork, tmp_path: Path) -> Path:
    return write_network(tmp_path / "mine.onnx", Kind.SCRFD)


def test_the_list_says_what_there_is_and_what_is_here(lafid: Lafid, models: ModelStore, scrfd: Path) -> None:
    lafid("models", "add", "scrfd_2.5g", scrfd, "--accept", "non-commercial-research")
    listed = lafid("models", "list")
    assert listed.code == 0
    lines = listed.out.splitlines()
    assert lines[0] == f"models in {models.root}"
    for entry in REGISTRY:
        (line,) = [line for line in lines if line.split()[:1] == [entry.name]]
        assert entry.task in line
        assert entry.licence in line
        assert line.endswith("present" if entry.name == "scrfd_2.5g" else "absent")
    assert "signs assumed" in listed.out
    assert "no public address, lafid models add" in listed.out


def test_terms_are_shown_and_asked_for_once(lafid: Lafid, models: ModelStore, scrfd: Path) -> None:
    refused = lafid("models", "add", "scrfd_2.5g", scrfd)
    assert "Research without commercial purpose only" in refused.out
    assert "To accept: lafid models accept non-commercial-research" in refused.error
    assert not models.present("scrfd_2.5g")
    accepted = lafid("models", "accept", "non-commercial-research")
    assert accepted.code == 0
    assert "Research without commercial purpose only" in accepted.out
    added = lafid("models", "add", "scrfd_2.5g", scrfd)
    assert added.code == 0
    assert "is not the published scrfd_2.5g_bnkps.onnx" in added.out
    assert models.usable("scrfd_2.5g")


def test_a_wrong_file_is_one_line(lafid: Lafid, models: ModelStore, tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("hello")
    ended = lafid("models", "add", "fsanet", path, path)
    assert "fsanet consists of" in ended.error
    assert "text.onnx is not an ONNX file" in lafid("models", "add", "face_mesh", path).error


def test_an_unknown_model_is_one_line(lafid: Lafid, models: ModelStore) -> None:
    assert "there is no model 'yolo': choose one of buffalo_l" in lafid("models", "fetch", "yolo").error


def test_a_model_without_an_address_cannot_be_fetched(lafid: Lafid, models: ModelStore) -> None:
    ended = lafid("models", "fetch", "arcface_mobilefacenet_foamliu", "--accept", "non-commercial-research")
    assert "arcface_mobilefacenet_foamliu has no public address" in ended.error


def test_verify_tells_a_damaged_file(lafid: Lafid, models: ModelStore, scrfd: Path) -> None:
    lafid("models", "add", "scrfd_2.5g", scrfd, "--accept", "non-commercial-research")
    assert lafid("models", "verify").out == "scrfd_2.5g: as it arrived\n"
    path = models.folder("scrfd_2.5g") / "scrfd_2.5g_bnkps.onnx"
    path.write_bytes(b"x")
    ended = lafid("models", "verify")
    assert ended.out == "scrfd_2.5g: DAMAGED\n"
    assert f"{path} has changed since it was added: delete the model's folder" in ended.error
    assert "the model fsanet (head pose) is missing from" in lafid("models", "verify", "fsanet").error


def test_an_engine_without_its_models_is_one_line(lafid: Lafid, models: ModelStore, tmp_path: Path) -> None:
    assert "is not a folder" in lafid("models", "check", "6drepnet", "fsanet", tmp_path / "none").error
    assert "the model 6drepnet (head pose) is missing from" in lafid("models", "check", "6drepnet", "fsanet", tmp_path).error


def test_check_compares_two_models_on_photos(
    lafid: Lafid, home: Path, real_store: ModelStore, testdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAFID_MODELS", str(real_store.root))
    folder = tmp_path / "faces"
    folder.mkdir()
    for path in (testdata / "photos").glob("*.jpg"):
        (folder / path.name).symlink_to(path)
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.mp4").write_text("no clip")
    (folder / "broken.jpg").write_text("no picture")
    ended = lafid("models", "check", "fsanet", "fsanet", folder)
    assert ended.code == 0
    assert "found by insightface" in ended.out
    assert ended.out.count("1.000") == 3
    assert "left out broken.mp4: decode_failed: " in ended.out
    assert "left out broken.jpg: " in ended.out
    assert "all three signs agree on" in ended.out


def test_check_refuses_what_is_no_head_pose(lafid: Lafid, real_store: ModelStore, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LAFID_MODELS", str(real_store.root))
    assert (
        "scrfd_2.5g is a model for detector, not for head pose"
        in lafid("models", "check", "scrfd_2.5g", "fsanet", tmp_path).error
    )


def test_pushed_models_come_to_another_node_before_the_internet_is_asked(
    lafid: Lafid, models: ModelStore, scrfd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAFID_STORE", str(tmp_path / "share"))
    lafid("models", "add", "scrfd_2.5g", scrfd, "--accept", "non-commercial-research")
    pushed = lafid("models", "push")
    assert (pushed.code, pushed.out) == (0, f"scrfd_2.5g: 0.0 MB in {tmp_path / 'share'}/models/scrfd_2.5g\n")
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "other node"))
    fetched = lafid("models", "fetch", "scrfd_2.5g")
    assert fetched.code == 0
    assert ModelStore(tmp_path / "other node").usable("scrfd_2.5g")


def test_nothing_to_push_is_told(lafid: Lafid, models: ModelStore) -> None:
    assert lafid("models", "push").out == f"{models.root} holds no model: get one with `lafid models fetch NAME`\n"
