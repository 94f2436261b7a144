"""What messages advise can be done: every asset, command, option, variable and setting that a text names is there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from dagster._cli import create_dagster_cli
from mlflow.environment_variables import MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_USERNAME

from lafid_assets.cli.main import app
from lafid_assets.jobs import DATASET, PER_SHARD, PRECOMPUTE, RELEASE
from lafid_assets.lafid_toml.settings_file import SHARED, General
from lafid_assets.steps.step_registry import all_steps

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for package in ("model", "resources", "lafid_assets", "sensors") for path in (ROOT / package).rglob("*.py")]
ASSETS = {*PER_SHARD, *DATASET, *PRECOMPUTE, *RELEASE}
NO_NAMES = {"again", "it", "them", "these", "the", "everything", "and"}
COMMANDS: dict[str, Any] = {"lafid": typer.main.get_command(app), "dagster": create_dagster_cli()}
GAP = "\N{HORIZONTAL ELLIPSIS}"
"""Stands where a message names something when it is made."""


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every string that is no docstring, whole, however it is put together."""
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    pieces = {id(piece) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for piece in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(piece.value) if isinstance(piece, ast.Constant) else GAP for piece in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (docs | pieces):
            yield node.value


@pytest.fixture(scope="module")
def texts() -> dict[str, set[str]]:
    """File to its strings."""
    found = {path.relative_to(ROOT).as_posix(): set(_texts(ast.parse(path.read_text()))) for path in SOURCES}
    assert sum(map(len, found.values())) > 3000
    return found


def _found(texts: dict[str, set[str]], pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
    hits = [(file, hit) for file, strings in texts.items() for text in strings for hit in re.finditer(pattern, text)]
    assert hits, f"nobody says {pattern}: the test looks for the wrong words"
    yield from hits


def test_what_is_to_be_materialized_is_an_asset(texts: dict[str, set[str]]) -> None:
    wrong = [
        (file, hit[0])
        for file, hit in _found(texts, rf"(?i)\bmaterialize ([\w{GAP}]+)")
        if hit[1] not in ASSETS | NO_NAMES and GAP not in hit[1]
    ]
    assert wrong == []


def test_commands_and_their_options_are_there(texts: dict[str, set[str]]) -> None:
    wrong = [(file, hit[0]) for file, hit in _found(texts, r"`(lafid|dagster) ([^`]+)`") if not _is_command(hit[1], hit[2])]
    assert wrong == []


def _is_command(tool: str, said: str) -> bool:
    command = COMMANDS[tool]
    for word in said.split():
        if word.startswith("--"):
            known = {name for parameter in command.params for name in parameter.opts}
            if word.partition("=")[0] not in known:
                return False
        elif hasattr(command, "commands"):  # Typer has a click of its own
            if GAP in word:
                return True
            if word not in command.commands:
                return False
            command = command.commands[word]
    return True


def test_make_targets_are_there(texts: dict[str, set[str]]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert [(file, hit[0]) for file, hit in _found(texts, r"`make ([\w-]+)`") if hit[1] not in targets] == []


def test_variables_that_are_to_be_set_are_read(texts: dict[str, set[str]]) -> None:
    read = {text for strings in texts.values() for text in strings if re.fullmatch(r"[A-Z][A-Z_]+", text)}
    read |= {MLFLOW_TRACKING_USERNAME.name, MLFLOW_TRACKING_PASSWORD.name}  # MLflow reads them itself
    for instance in (ROOT / "deploy").glob("dagster.*.yaml"):  # and these Dagster
        read |= set(re.findall(r"\benv: ([A-Z_]+)", instance.read_text()))
    assert [(file, hit[0]) for file, hit in _found(texts, r"\bset (LAFID_[A-Z_]+|MLFLOW_[A-Z_]+)") if hit[1] not in read] == []


def test_settings_that_are_named_are_settings(texts: dict[str, set[str]]) -> None:
    """As `[section] line = ...`."""
    known = {asset: set(config.model_fields) for asset, (_, config) in all_steps().items()}
    known |= {name: set(field.annotation.model_fields) for name, field in General.model_fields.items() if name != "version"}
    known |= {name: set.intersection(*(known[asset] for asset in assets)) for name, assets in SHARED.items()}
    line = r"\[([a-z_]+)\] ([a-z_]+) ="
    said = [(file, hit) for file, each in texts.items() for text in each for hit in re.finditer(line, text)]
    assert [(file, hit[0]) for file, hit in said if hit[2] not in known.get(hit[1], set())] == []
