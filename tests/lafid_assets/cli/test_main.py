"""Bad input: one line that names the thing and the remedy, and a code that is not zero."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lafid_assets.runs.failure_line import one_line

Lafid = Callable[..., "object"]


def test_missing_folder(lafid: Lafid, tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path}/none: mount it or name another folder" in lafid("curate", tmp_path / "none").error


def test_empty_folder(lafid: Lafid, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    assert f"{folder} holds neither" in lafid("curate", folder).error


def test_folder_with_brackets_in_its_name(lafid: Lafid, tmp_path: Path) -> None:
    """The terminal library takes brackets for markup and would leave them out."""
    folder = tmp_path / "clips [red] [bold]"
    folder.mkdir()
    assert str(folder) in lafid("curate", folder).error


def test_table_without_a_column(lafid: Lafid, tmp_path: Path) -> None:
    table = tmp_path / "OpenHumanVid_part_001.csv"
    table.write_text("clip_id,path\na,b\n")
    assert f"the table {table} has no column caption" in lafid("curate", tmp_path).error


def test_unknown_engine(lafid: Lafid, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes(b"no video")
    assert "there is no face engine 'magic': choose one of" in lafid("curate", clips, "--engine", "magic").error


def test_home_that_cannot_be_written(lafid: Lafid, home: Path, tmp_path: Path) -> None:
    home.write_text("a file in the way")
    ended = lafid("curate", tmp_path)
    assert f"cannot write to the home {home}" in ended.error
    assert "set LAFID_HOME to a directory that can be written" in ended.error


@pytest.mark.parametrize("option", ["--port", "--mlflow-port"])
def test_busy_port(lafid: Lafid, home: Path, option: str) -> None:
    with socket.socket() as taken, socket.socket() as free:
        for one in (taken, free):
            one.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = {"--port": free.getsockname()[1], "--mlflow-port": free.getsockname()[1]} | {option: port}
        free.close()
        ended = lafid("ui", *[word for pair in ports.items() for word in pair])
    assert f"port {port} is taken by another program: end it, or choose another with {option}" in ended.error
    assert not (home / "dagster").exists(), "nothing may have been started"


def test_missing_image(lafid: Lafid, tmp_path: Path) -> None:
    ended = lafid("generate", "--image", tmp_path / "none.png", "--prompt", "x", "--out", tmp_path / "o.mp4")
    assert f"cannot read {tmp_path}/none.png" in ended.error


def test_file_that_is_no_image(lafid: Lafid, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    ended = lafid("generate", "--image", tmp_path / "text.png", "--prompt", "x", "--out", tmp_path / "o.mp4")
    assert f"cannot read {tmp_path}/text.png" in ended.error


def test_model_that_nobody_registered(lafid: Lafid, home: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    ended = lafid("generate", "--image", tmp_path / "a.png", "--prompt", "x", "--out", tmp_path / "o.mp4")
    assert "there is no models:/lafid@champion: there is no registry at sqlite:///" in ended.error
    assert "`lafid demo` makes one" in ended.error
    assert not (home / "mlflow").exists()


def test_model_that_the_registry_does_not_know(lafid: Lafid, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import RestException

    import model.release.package

    def unknown(uri: str, *drawing: object, **loading: object) -> None:
        raise RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model with name=other not found"})

    monkeypatch.setattr(model.release.package, "pull", unknown)
    monkeypatch.setattr("resources.tracking.Tracking.connect", lambda self: None)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (home / "mlflow").mkdir(parents=True)
    (home / "mlflow" / "mlflow.db").write_bytes(b"")
    ended = lafid("generate", "--model", "models:/other/1", "--image", tmp_path / "a.png", "--prompt", "x", "--out", "o.mp4")
    assert "there is no models:/other/1 at sqlite:///" in ended.error
    assert "name=other not found" in ended.error


def test_funnel_before_anything_was_curated(lafid: Lafid, home: Path) -> None:
    assert f"there are no tables in {home}/store yet: run `make demo` or `lafid curate DIR` first" in lafid("funnel").error
    assert not (home / "store").exists(), "a question makes nothing"


def test_traceback_goes_to_the_log_of_the_home_that_was_named(lafid: Lafid, home: Path, tmp_path: Path) -> None:
    ended = lafid("curate", tmp_path / "none")
    assert ended.err.strip().endswith(f"details: {home}/logs/last-error.log")
    assert "SourceUnusable" in (home / "logs" / "last-error.log").read_text()
    assert "Traceback" not in ended.err


def test_option_that_is_refused_is_logged_in_that_home_too(lafid: Lafid, home: Path, tmp_path: Path) -> None:
    assert "details:" not in lafid("curate", tmp_path, "--policy", "none").err, "a home is not made for it"
    assert not home.exists()
    home.mkdir()
    assert f"details: {home}/logs/last-error.log" in lafid("curate", tmp_path, "--policy", "none").err


def test_full_disk_is_told_from_a_path_that_is_called_full() -> None:
    remedy = "free some space, or set LAFID_HOME to another disk"
    assert remedy in one_line(OSError(28, "No space left on device"))
    assert remedy in one_line(sqlite3.OperationalError("database or disk is full"))
    assert remedy not in one_line(FileNotFoundError("there is no /data/fullhd/clip.mp4"))
    told = "state of step 4 in /big could not be written (No space left on device): free space on that disk and start again"
    assert one_line(RuntimeError(told)) == told, "which disk it is, and where it goes on, is said already"


def test_missing_package_names_the_extras() -> None:
    assert "install lafid with its extras" in one_line(ModuleNotFoundError("no", name="dagster"))


def test_error_without_words_has_its_name() -> None:
    assert one_line(RuntimeError()) == "RuntimeError"
    assert one_line(ValueError("two\n   lines")) == "two lines"


def test_module_runs_as_the_console_script_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lafid_assets.cli.main", "funnel", "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"})
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: there are no tables")
