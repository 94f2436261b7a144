"""Every command of README and site: known to the command line; and run here, run by another test, or listed with the reason."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lafid_assets.cli.main import app, run
from lafid_assets.jobs import RELEASE
from lafid_assets.lafid_toml.settings_check import ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from resources.settings import PROJECT_ROOT
from tests.demo_home import Demo, run_lafid
from tests.docs.not_run import NOT_RUN, OTHERS_OPTIONS, TESTED_BY
from tests.docs.pages import PAGES, Command, block, blocks, commands

COMMANDS = commands()
OURS = [each for each in COMMANDS if each.words[0] == "lafid" or "lafid_assets.cli.main" in each.words]
RUN_HERE = (
    "lafid calibrate",
    "lafid compact",
    "lafid diff",
    "lafid doctor",
    "lafid explain",
    "lafid export",
    "lafid forget",
    "lafid funnel",
    "lafid init",
    "lafid lineage",
    "lafid models list",
    "lafid query",
    "lafid settings diff",
    "lafid status",
    "lafid sweep",
    "lafid whatif",
)
"""On a copy of the demo's home."""
CHANGED_IN_PLACE = (".sqlite", ".db", ".duckdb", "-wal", "-shm")


def _fate(command: Command) -> str:
    """The longest beginning in one of the three lists that fits; empty where none does."""
    listed = (*RUN_HERE, *TESTED_BY, *NOT_RUN)
    return max((start for start in listed if re.match(rf"{re.escape(start)}(?![\w-])", str(command))), key=len, default="")


def _found(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words begin with, and the words after it."""
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def _parse(words: list[str]) -> None:
    """As the command line does, without doing anything; an error of its own where it refuses."""
    command, rest = _found(words)
    assert not hasattr(command, "commands"), f"there is no command {words}"
    command.make_context("lafid", rest)


@pytest.mark.parametrize("command", OURS, ids=str)
def test_the_command_line_takes_it(command: Command) -> None:
    before = "lafid" if command.words[0] == "lafid" else "lafid_assets.cli.main"
    _parse([*command.words[command.words.index(before) + 1 :]])


@pytest.mark.parametrize("words", ["curate", "curate DIR --engin dlib", "curat DIR", "presets --days many"])
def test_what_it_does_not_take_would_be_seen(words: str) -> None:
    with pytest.raises(Exception, match=r"Missing parameter|No such option|there is no command|a valid number"):
        _parse(words.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_said_of_commands_in_a_sentence_is_true(page: Path) -> None:
    """Names of commands, and options, in `code`."""
    known = {option for command in _leaves(typer.main.get_command(app)) for option in _options(command)}
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)):
        first, *words = span.split()
        said = set(re.findall(r"(?<!\S)--[a-z][\w-]*", span))
        if first == "lafid" and words and words[0].islower():
            command, _ = _found(words)
            assert command is not typer.main.get_command(app), f"`{span}`"
            assert said <= _options(command), f"`{span}`"
        else:
            assert said <= known | OTHERS_OPTIONS, f"`{span}`"


def test_every_block_says_what_it_is() -> None:
    """A command in a block without language would be read by nobody."""
    assert {each.language for each in blocks()} <= {
        "sh",
        "text",
        "toml",
        "python",
        "sql",
        "{toctree}",
        "{include} ../CONTRIBUTING.md",
        "{include} ../CHANGELOG.md",
    }
    for each in blocks():
        assert each.language == "sh" or not re.search(r"^(\.venv/bin/|lafid |make )", each.text, re.MULTILINE), each


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_it_is_run_or_the_reason_is_known(command: Command) -> None:
    fate = _fate(command)
    assert fate, f"{command.page}: no test runs `{command}`, and tests/docs/not_run.py does not say why"
    if fate in TESTED_BY:
        path, _, test = TESTED_BY[fate].partition("::")
        text = (PROJECT_ROOT / path).read_text()
        assert f"def {test}" in text
        name = fate.split()[1]
        assert re.search(rf'"{name}"|(lafid|make) {name}|run_{name}\b', text)


def test_the_lists_hold_nothing_else() -> None:
    fates = {_fate(command) for command in COMMANDS}
    assert {*RUN_HERE, *TESTED_BY, *NOT_RUN} <= fates


@pytest.mark.parametrize("target", [each.words[1] for each in COMMANDS if each.words[0] == "make" and "=" not in each.words[1]])
def test_make_knows_the_target(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[:2] == ("python", "-m")], ids=str)
def test_the_module_is_there_and_knows_the_options(command: Command) -> None:
    source = (PROJECT_ROOT / command.words[2].replace(".", "/")).with_suffix(".py").read_text()
    for option in (word for word in command.words if word.startswith("--")):
        assert f'"{option}"' in source


@pytest.mark.parametrize("command", [each for each in COMMANDS if "--config-json" in each.words], ids=str)
def test_dagsters_config_fits_the_assets(command: Command, tmp_path: Path) -> None:
    named = json.loads(command.words[command.words.index("--config-json") + 1])["ops"]
    told = ops_of(SettingsFile.of(tmp_path), named)
    for asset, lines in named.items():
        assert lines["config"].items() <= told[asset]["config"].items()


def test_the_walk_makes_all_that_the_job_makes() -> None:
    """Without the bench the gate stays undecided, and no champion could be drawn with."""
    chosen = [each.words[each.words.index("--select") + 1].split(",") for each in COMMANDS if "--select" in each.words]
    assert [names for names in chosen if "registered_model" in names] == [[*RELEASE]]


def _copy(home: Path, to: Path) -> Path:
    """Files that nobody writes into are linked."""

    def copy(source: str, target: str) -> None:
        if source.endswith(CHANGED_IN_PLACE):
            shutil.copy2(source, target)
        else:
            Path(target).hardlink_to(source)

    return Path(shutil.copytree(home, to, copy_function=copy))


@pytest.fixture(scope="session")
def copied(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's home."""
    return _copy(demo.home, tmp_path_factory.mktemp("documented") / "home")


@pytest.fixture(scope="session")
def told(demo: Demo, copied: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the placeholders of the pages stand for."""
    folder = tmp_path_factory.mktemp("told")
    kept, person, version = demo.rows("SELECT clip_id, identity_id, dataset_version FROM lafid_dataset ORDER BY clip_id")[0]
    judged = demo.rows("SELECT clip_id, keep FROM pose_filtered_clips")
    labels, policy = folder / "LABELS.csv", folder / "close_ups.toml"
    labels.write_text("clip_id,label\n" + "".join(f"{clip},{int(bool(keep))}\n" for clip, keep in judged))
    policy.write_text(block("write-a-policy.md", "toml"))
    files = {file.name: str(file) for file in (labels, policy)}
    clip = {name: str(kept) for name in ("CLIP", "ID")}
    return files | clip | {"PERSON": str(person), "VERSION": str(version), "HOME": str(copied)}


@pytest.mark.parametrize("command", [each for each in COMMANDS if _fate(each) in RUN_HERE], ids=str)
def test_it_runs(
    command: Command,
    copied: Path,
    told: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "new" if "init" in command.words else copied))
    monkeypatch.setattr(sys, "argv", [told.get(word, word) for word in command.words])
    code = run()
    out, err = capsys.readouterr()
    assert code == 0, err
    assert out.strip()


def test_a_lost_catalog_is_made_anew(demo: Demo, tmp_path: Path) -> None:
    home = _copy(demo.home, tmp_path / "home")
    (home / "store" / "catalog.sqlite").unlink()
    ended = run_lafid(home, "rebuild")
    assert ended.returncode == 0, ended.stderr
    assert "is as it was at" in ended.stdout


def _leaves(command: Any) -> Iterator[Any]:
    for each in getattr(command, "commands", {}).values():
        yield from _leaves(each)
    yield command


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
