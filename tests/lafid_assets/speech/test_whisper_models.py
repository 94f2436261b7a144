"""Which speech model transcribes, and why."""

from pathlib import Path

import pytest

from lafid_assets.speech.whisper_models import WhisperUnknown, choose_whisper
from model.model_store.install import install
from model.model_store.store import ModelMissing, ModelStore, StoreDamaged


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def _model(folder: Path, content: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(content)
    for name in ("config.json", "tokenizer.json", "vocabulary.json"):
        (folder / name).write_text("{}")
    return folder


def test_without_a_model_nothing_is_transcribed_and_it_says_why(store: ModelStore) -> None:
    choice = choose_whisper("auto", None, store)
    assert (choice.folder, choice.sha256, choice.reason) == (None, None, "the model store has no speech model")


def test_auto_takes_the_largest_of_the_store(store: ModelStore, tmp_path: Path) -> None:
    install(store, "whisper_tiny", [_model(tmp_path / "a", b"others")])
    install(store, "whisper_small", [_model(tmp_path / "b")])
    choice = choose_whisper("auto", None, store)
    assert (choice.folder, choice.reason) == (store.folder("whisper_small"), "auto: the largest of 2 in the model store")
    named = choose_whisper("whisper_tiny", None, store)
    assert (named.folder, named.reason) == (store.folder("whisper_tiny"), "asked for by name")
    assert named.sha256 != choice.sha256
    assert (choice.licence, named.licence) == ("MIT", "MIT")
    assert choose_whisper("none", None, store).folder is None


def test_a_named_folder_goes_before_the_store(store: ModelStore, tmp_path: Path) -> None:
    install(store, "whisper_tiny", [_model(tmp_path / "a")])
    own = _model(tmp_path / "own")
    chosen = choose_whisper("auto", own, store)
    assert (chosen.folder, chosen.licence) == (own, "unstated")


def test_what_is_not_there_is_refused(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(WhisperUnknown, match=r"no speech model 'large': choose auto, none, whisper_tiny"):
        choose_whisper("large", None, store)
    with pytest.raises(ModelMissing, match="lafid models add whisper_tiny"):
        choose_whisper("whisper_tiny", None, store)
    with pytest.raises(FileNotFoundError, match="is no CTranslate2 Whisper model"):
        choose_whisper("auto", tmp_path, store)


def test_weights_that_changed_since_they_were_added_are_refused(store: ModelStore, tmp_path: Path) -> None:
    install(store, "whisper_tiny", [_model(tmp_path / "a")])
    (store.folder("whisper_tiny") / "model.bin").write_bytes(b"weightz")
    with pytest.raises(StoreDamaged):
        choose_whisper("auto", None, store)
