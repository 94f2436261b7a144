"""A cluster loses machines in mid-run, and makes what one machine makes: nothing is lost, done twice, or left behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resources.settings import Settings
from tests.cluster.space import APART
from tests.cluster.trial import digests
from tests.demo_home import PROJECT_ROOT, run_lafid

CLIPS_OF = {"small": 4, "whole": 24}
"""Form to clips; each is a shard."""
LONGEST_S = 900
TURNING, BROKEN = 1, 3
"""Of eight clips the one that is kept, and the one that is none; the others are a portrait that stands still."""


@pytest.fixture
def footage(tmp_path: Path, portrait: NDArray[np.uint8], write_video: Callable[..., Path]) -> Callable[[int], Path]:
    """A plain folder of so many clips, of which each eighth turns its head and is kept, and each eighth is no video."""

    def make(clips: int) -> Path:
        from lafid_assets.sample_footage.build import build_sample_footage
        from lafid_assets.sample_footage.screenplay import SCENES

        scene = min((scene for scene in SCENES if scene.reason is None), key=lambda scene: scene.duration_s)
        build_sample_footage(tmp_path / "made", scenes=(scene,), workers=1)
        turning = (tmp_path / "made" / scene.path).read_bytes()
        root = tmp_path / "footage"
        root.mkdir()
        for number in range(clips):
            path = root / f"{number:02d}.mp4"
            if number % 8 == TURNING:
                path.write_bytes(turning + number * b"\0\0\0\x08free")  # equal contents would be one clip
            elif number % 8 == BROKEN:
                path.write_bytes(b"no video" * (100 + number))
            else:
                face = np.asarray(Image.fromarray(portrait[:320, 64 + number : 384 + number]).resize((160, 160)), np.uint8)
                write_video(path, pictures=np.stack([face] * 10))
        return root

    return make


@pytest.mark.e2e
@pytest.mark.cluster
@pytest.mark.timeout(LONGEST_S)
def test_killed_and_frozen_nodes_lose_nothing(footage: Callable[[int], Path], folder: Path, tmp_path: Path) -> None:
    _check("small", footage, folder, tmp_path)


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.timeout(2 * LONGEST_S)
def test_nothing_that_can_happen_to_machines_loses_anything(
    footage: Callable[[int], Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _check("whole", footage, folder, tmp_path)
    with capsys.disabled():
        print(_table(report))
    [cancelled] = [fault["outcome"] for fault in report["faults"] if fault["what"] == "run cancelled"]
    assert "CANCELED" in cancelled


def _check(form: str, footage: Callable[[int], Path], folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Run the trial, and see that all holds that must."""
    clips = footage(CLIPS_OF[form])
    with ThreadPoolExecutor() as beside:
        one_machine = beside.submit(run_lafid, tmp_path / "alone", "curate", str(clips), "--clips-per-shard", "1")
        said = in_a_site(folder, "trial", str(clips), "--form", form)
    assert one_machine.result().returncode == 0, one_machine.result().stderr
    assert (folder / "report.json").is_file(), said
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    print(said, _table(report))
    assert report["commands"][-1]["code"] == 0, said + report["commands"][-1]["said"]
    assert report["leases_left"] == []
    assert report["slots_taken"] == 0
    assert report["computed_twice"] == {}
    assert report["overwritten"] == []
    assert report["fenced"], "the run that woke after its successor had written said nothing of it"
    alone = digests(Settings(home=tmp_path / "alone", store_uri=str(tmp_path / "alone" / "store")))
    assert report["tables"] == alone, [name for name, digest in alone.items() if report["tables"].get(name) != digest]
    return report


def in_a_site(folder: Path, trial: str, *told: str) -> str:
    """What a trial says, in a site of its own that ends with this process. Ray does not start from a path with a space."""
    (folder / "python").symlink_to(sys.prefix)
    program = [str(folder / "python" / "bin" / "python"), "-m", f"tests.cluster.{trial}", str(folder), *told]
    with subprocess.Popen(
        [*APART, *program], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as trial:
        said = trial.stdout.read() if trial.stdout else ""
    return said


def _table(report: dict[str, Any]) -> str:
    """The faults, and what was lost of it."""
    rows = [("after s", "fault", "where", "outcome")]
    rows += [(f"{fault['at_s']:.0f}", fault["what"], fault["where"], fault["outcome"]) for fault in report["faults"]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]
    counted = {"done twice": "computed_twice", "leases left": "leases_left", "written over a successor": "overwritten"}
    lines += [f"{what}: {len(report[name])}" for what, name in counted.items()]
    starts = sorted(report["starts_s"]) or [float("nan")]
    lines += [
        f"slots of pools taken: {report['slots_taken']}",
        f"runs: {report['runs']}, begun {starts[len(starts) // 2]:.0f} s after they were asked for (median)",
        f"cluster up in {report['up_s']:.0f} s, whole trial {report['whole_s']:.0f} s",
    ]
    return "\n".join(["", *lines])
