"""`lafid status` and `lafid --version`."""

import json
import sys
from importlib.metadata import version
from typing import Any

import dagster as dg
import pytest

from lafid_assets.cli.main import run
from resources.settings import Settings


def test_a_new_home_has_nothing_yet(lafid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
    status = json.loads(lafid("status", "--json").out)
    assert (status["shards"], status["dataset"], status["champion"]) == (None, None, None)
    assert (status["runs"], status["home_is_there"]) == (None, False)
    assert status["disk"]["free_gb"] > 0
    assert "shards:    none yet" in lafid("status").out


def test_the_last_failure_is_told_in_its_line(lafid: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.prepare()

    @dg.asset
    def broken() -> None:
        raise dg.Failure("broken failed: the disk is gone")

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([broken], instance=instance, raise_on_error=False)
        monkeypatch.setattr(dg.DagsterInstance, "get", lambda: instance)
        assert "of the last day 1 failed, the last one: broken failed: the disk is gone" in lafid("status").out


def test_the_version_is_the_packages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["lafid", "--version"])
    assert run() == 0
    assert capsys.readouterr().out == f"lafid {version('lafid')}\n"
