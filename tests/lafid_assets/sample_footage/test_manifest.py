"""The record beside the footage."""

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from lafid_assets.outcomes import Reason, Status
from lafid_assets.sample_footage import manifest as module
from lafid_assets.sample_footage.manifest import SampleClip, SampleManifest, recipe


def clip(status: Status, reason: Reason | None) -> SampleClip:
    return SampleClip(
        clip_id="0" * 32,
        scene="a scene",
        path="clips/x",
        sha256=None,
        persons=(),
        expected_status=status,
        expected_reason=reason,
        expected_speaking_status=None,
    )


def test_an_outcome_reads_like_the_funnel() -> None:
    assert clip(Status.OK, None).expected_outcome == "kept"
    assert clip(Status.REJECTED, Reason.NO_FACE).expected_outcome == "rejected:no_face"


def test_a_manifest_survives_its_file_and_names_its_sources() -> None:
    written = SampleManifest(
        recipe=recipe(), table_sha256="ab", clips=(clip(Status.OK, None), clip(Status.SKIPPED, Reason.NO_ROW))
    )
    assert SampleManifest.model_validate_json(written.model_dump_json()) == written
    assert [kept.expected_outcome for kept in written.kept] == ["kept"]
    assert {source.sitter for source in written.portraits} == {"Eileen Collins", "Grace Hopper"}
    with pytest.raises(ValidationError):
        SampleManifest.model_validate_json('{"recipe": "x"}')


def test_the_recipe_changes_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(module.__file__)
    copy = Path(shutil.copytree(source.parent, tmp_path / "package"))
    monkeypatch.setattr(module, "__file__", str(copy / source.name))
    assert recipe() == recipe()
    before = recipe()
    voice = copy / "voice.py"
    voice.write_text(voice.read_text() + "\n")
    assert recipe() != before
