"""Adding models: checked, whole or not at all."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model.files import sha256_file
from model.model_store.inspection import ModelUnfit
from model.model_store.install import ModelPresent, install
from model.model_store.registry import Kind, Licence
from model.model_store.store import LicenceNotAccepted, ModelStore

WriteNetwork = Callable[..., Path]


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    store = ModelStore(tmp_path / "models")
    store.accept(Licence.RESEARCH)
    return store


def test_real_weights_are_the_published_ones(real_store: ModelStore, real_weights: dict[str, list[Path]]) -> None:
    """Every file of ../shared is recognised by its digest, whatever it is called: no remark."""
    for name, files in real_weights.items():
        again = install(real_store, name, list(reversed(files)))
        assert again.remarks == ()
        assert {file.sha256 for file in again.record.files} == {sha256_file(file) for file in files}
    widths = [file.embedding_dim for file in real_store.record("arcface_mobilefacenet_foamliu").files]
    assert widths == [128]


def test_another_file_than_the_published_one_is_told(models: ModelStore, write_network: WriteNetwork, tmp_path: Path) -> None:
    added = install(models, "scrfd_2.5g", [write_network(tmp_path / "mine.onnx", Kind.SCRFD)])
    assert len(added.remarks) == 1
    assert "is not the published scrfd_2.5g_bnkps.onnx (sha256 " in added.remarks[0]
    assert models.usable("scrfd_2.5g")


def test_terms_come_first(write_network: WriteNetwork, tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    with pytest.raises(LicenceNotAccepted):
        install(store, "scrfd_2.5g", [write_network(tmp_path / "a.onnx", Kind.SCRFD)])
    assert not store.root.exists()


def test_another_kind_is_refused_and_leaves_nothing(models: ModelStore, write_network: WriteNetwork, tmp_path: Path) -> None:
    with pytest.raises(ModelUnfit, match="is not a scrfd network: it has arcface"):
        install(models, "scrfd_2.5g", [write_network(tmp_path / "a.onnx", Kind.ARCFACE)])
    assert [path.name for path in models.root.iterdir()] == ["accepted_licences.json"]


def test_a_missing_half_is_named(models: ModelStore, write_network: WriteNetwork, tmp_path: Path) -> None:
    one = write_network(tmp_path / "fsanet-1x1-iter-688590.onnx", Kind.FSANET)
    with pytest.raises(ModelUnfit, match="fsanet consists of .*: fsanet-var-iter-688590.onnx not among"):
        install(models, "fsanet", [one])


def test_a_file_that_is_not_there(models: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelUnfit, match="there is no .*/none.onnx"):
        install(models, "scrfd_2.5g", [tmp_path / "none.onnx"])


def test_the_same_again_is_nothing_new_and_another_is_refused(
    models: ModelStore, write_network: WriteNetwork, tmp_path: Path
) -> None:
    first = write_network(tmp_path / "a.onnx", Kind.ARCFACE, 1.0)
    other = write_network(tmp_path / "b.onnx", Kind.ARCFACE, 2.0)
    record = install(models, "arcface_mobilefacenet_foamliu", [first]).record
    assert install(models, "arcface_mobilefacenet_foamliu", [first]).record == record
    with pytest.raises(ModelPresent, match="another version of arcface_mobilefacenet_foamliu is in .*: delete that folder"):
        install(models, "arcface_mobilefacenet_foamliu", [other])


@pytest.fixture
def pack(write_network: WriteNetwork, tmp_path: Path) -> Path:
    folder = tmp_path / "buffalo_l"
    write_network(folder / "det_10g.onnx", Kind.SCRFD)
    write_network(folder / "w600k_r50.onnx", Kind.ARCFACE)
    write_network(folder / "2d106det.onnx", Kind.LANDMARKS_106)
    write_network(folder / "other.onnx", Kind.FSANET)
    (folder / "readme.txt").write_text("x")
    return folder


def _kinds(models: ModelStore, name: str) -> dict[str, Kind | None]:
    return {file.name: file.kind for file in models.record(name).files}


PACK_KINDS = {"det_10g.onnx": Kind.SCRFD, "w600k_r50.onnx": Kind.ARCFACE, "2d106det.onnx": Kind.LANDMARKS_106, "other.onnx": None}


def test_a_pack_comes_as_a_folder(models: ModelStore, pack: Path) -> None:
    install(models, "buffalo_l", [pack])
    assert _kinds(models, "buffalo_l") == PACK_KINDS
    assert models.verify("buffalo_l") == []


def test_a_pack_comes_as_its_archive(models: ModelStore, pack: Path, tmp_path: Path) -> None:
    archive = tmp_path / "antelopev2.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in pack.iterdir():
            file.write(path, f"antelopev2/{path.name}")
        file.writestr("../../outside.txt", "x")
    install(models, "antelopev2", [archive])
    assert _kinds(models, "antelopev2") == PACK_KINDS
    assert install(models, "antelopev2", [pack]).record == models.record("antelopev2")


def test_members_of_an_archive_cannot_leave_the_store(models: ModelStore, pack: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in pack.glob("*.onnx"):
            file.write(path, f"../../{path.name}")
    before = set(tmp_path.rglob("*"))
    install(models, "buffalo_l", [archive])
    assert all(path.is_relative_to(models.folder("buffalo_l")) for path in set(tmp_path.rglob("*")) - before)


def test_a_pack_without_an_embedder_is_refused(models: ModelStore, pack: Path) -> None:
    (pack / "w600k_r50.onnx").unlink()
    with pytest.raises(ModelUnfit, match="holds no arcface network: that is not a pack like buffalo_l"):
        install(models, "buffalo_l", [pack])
    assert not models.present("buffalo_l")


def test_a_folder_without_networks_is_no_pack(models: ModelStore, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelUnfit, match="no ONNX files of buffalo_l in"):
        install(models, "buffalo_l", [empty])


def test_speech_model_is_a_folder_of_files_with_fixed_names(models: ModelStore, tmp_path: Path) -> None:
    folder = tmp_path / "converted"
    folder.mkdir()
    for name in ("config.json", "model.bin", "tokenizer.json", "README.md"):
        (folder / name).write_text(name)
    with pytest.raises(ModelUnfit, match=r"whisper_tiny needs vocabulary\.txt"):
        install(models, "whisper_tiny", [folder])
    assert not models.present("whisper_tiny")
    (folder / "vocabulary.json").write_text("[]")
    added = install(models, "whisper_tiny", [folder])
    assert [(file.name, file.kind) for file in added.record.files] == [
        ("config.json", None),
        ("model.bin", Kind.WHISPER),
        ("tokenizer.json", None),
        ("vocabulary.json", None),
    ]
