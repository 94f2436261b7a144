"""Two locks, one onnxruntime each: its CPU and its CUDA build install over the same folder."""

import re
from pathlib import Path

import pytest

LOCKS = Path(__file__).resolve().parents[1] / "locks"


def _pins(name: str) -> dict[str, str]:
    """Package to version of what a Linux machine installs from a lock."""
    lines = re.findall(r"^([\w.-]+)==([^ ;\\]+)(?: ; ([^\\\n]*))?", (LOCKS / name).read_text(), re.MULTILINE)
    return {package: version for package, version, marker in lines if "'never'" not in marker}


@pytest.mark.parametrize(("lock", "package"), [("all.txt", "onnxruntime"), ("cuda.txt", "onnxruntime-gpu")])
def test_each_lock_has_one_onnxruntime(lock: str, package: str) -> None:
    assert [name for name in _pins(lock) if name.startswith("onnxruntime")] == [package]


def test_the_locks_differ_in_nothing_else() -> None:
    all_, cuda = _pins("all.txt"), _pins("cuda.txt")
    assert all_.pop("onnxruntime") == cuda.pop("onnxruntime-gpu")
    assert cuda.items() <= all_.items()
    assert set(all_) - set(cuda) <= {"flatbuffers"}, "the CUDA build declares fewer requirements; nothing else may be missing"


def test_only_one_is_installed_here() -> None:
    from importlib.metadata import packages_distributions

    assert len(set(packages_distributions().get("onnxruntime", ["-"]))) == 1


@pytest.mark.parametrize("lock", sorted(path.name for path in LOCKS.glob("*.txt")))
def test_locks_name_versions_and_hashes_and_no_addresses(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text) if re.match(r"[\w.-]+==", entry))
