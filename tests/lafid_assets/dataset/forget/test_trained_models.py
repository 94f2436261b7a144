"""Which models learned from a clip."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lafid_assets.dataset.forget.elsewhere import models_trained_on
from lafid_assets.dataset.forget.subject import Subject
from resources.tracking import Tracking


def _subject(*trained_versions: str) -> Subject:
    known: dict[str, Any] = dict.fromkeys(("contents", "captions", "raw_files", "versions"), ())
    checkpoints = ("training_runs/x",) if trained_versions else ()
    known |= {"shown_in_demo": False, "delete_files": False}
    return Subject(**known, clip_ids=("a",), trained_versions=trained_versions, checkpoints=checkpoints)


@dataclass(frozen=True)
class Version:
    name: str
    version: str
    tags: dict[str, str] = field(default_factory=dict)
    source: str = ""


class Registry(Tracking):
    """Two versions in a registry that is there, and what a training logged on its way; one of it was registered."""

    is_there = True

    def connect(self) -> Any:
        return self

    def search_model_versions(self) -> list[Version]:
        tagged = [Version("lafid", number, {"lafid.dataset_version": f"v{number}"}, f"models:/m-{number}") for number in "12"]
        return [*tagged, Version("x", "1"), Version("by hand", "7", source="models:/m-7a")]

    def get_logged_model(self, model_id: str) -> Any:
        return Version("", "", {"lafid.dataset_version": "v2"} if model_id == "m-7a" else {})

    def tagged_models(self, tag: str, value: str) -> list[str]:
        return {("lafid.dataset_version", "v2"): ["m-2", "m-7a", "m-kept"]}.get((tag, value), [])


def test_checkpoints_registered_versions_and_logged_models_are_named_once(tmp_path: Path) -> None:
    registry = Registry("sqlite:///x", tmp_path)
    assert models_trained_on(_subject("v2"), registry) == [
        "checkpoint training_runs/x",
        "models:/by hand/7 (trained on v2)",
        "models:/lafid/2 (trained on v2)",
        "models:/m-kept (trained on v2)",
    ]
    assert models_trained_on(_subject(), registry) == []


def test_without_a_registry_only_the_store_is_asked(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert models_trained_on(_subject("v2"), tracking) == ["checkpoint training_runs/x"]
    assert list(tmp_path.iterdir()) == [], "asking makes no registry"
