"""What runs here is told apart from what runs elsewhere."""

import sys
from pathlib import Path

import pytest

from resources import software
from resources.software import Software


@pytest.fixture(autouse=True)
def _asked_anew() -> None:
    software._here.cache_clear()


def test_it_is_told_in_one_line() -> None:
    here = Software.here()
    assert str(here) == f"lafid {here.lafid}, code {here.code}, packages {here.packages}, python 3.{sys.version_info.minor}"
    assert len(here.code) == len(here.packages) == 8


def test_a_changed_file_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "rules.py").write_text("1")
    monkeypatch.setattr(software, "PROJECT_ROOT", tmp_path)
    first = Software.here()
    (tmp_path / "model" / "rules.pyc").write_text("what Python keeps of it")
    software._here.cache_clear()
    assert Software.here() == first
    (tmp_path / "model" / "rules.py").write_text("2")
    software._here.cache_clear()
    assert Software.here().code != first.code


def test_another_version_of_a_package_is_other_software(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Software.here()
    monkeypatch.setattr(software, "_version", lambda name: "0.0.1" if name == "av" else "1")
    software._here.cache_clear()
    assert Software.here().packages != first.packages
    assert Software.here().code == first.code


def test_the_packages_are_those_of_the_extras_and_a_gpu_build_counts_as_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"numpy", "onnxruntime"} <= software.packages().keys()
    assert not {"lafid", "ray", "pytest"} & software.packages().keys()
    assert "ray" in software.packages(("cluster",))

    def version(name: str) -> str:
        if name == "onnxruntime":
            raise software.PackageNotFoundError(name)
        return "1.31.1"

    monkeypatch.setattr(software, "version", version)
    assert software.packages()["onnxruntime"] == "1.31.1"
