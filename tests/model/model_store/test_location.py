"""Where models lie."""

from pathlib import Path

import pytest

from model.model_store.location import lafid_home, models_folder
from resources.settings import PROJECT_ROOT, Settings


def test_models_lie_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAFID_HOME")
    assert lafid_home() == PROJECT_ROOT / ".lafid"
    assert models_folder() == PROJECT_ROOT / ".lafid" / "models"


def test_the_home_moves_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "models" == Settings.from_environment().models


def test_a_folder_of_their_own_beats_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "shared"))
    assert models_folder() == tmp_path / "shared" == Settings.from_environment().models
