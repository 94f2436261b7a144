"""A person moves the champion, and says why."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.release.promotion import LONGEST_WHY, at_registry, promotions_of
from lafid_assets.schemas import JUDGEMENTS
from resources import tracking as tracking_module
from resources.lake.lake import Lake
from resources.tracking import Tracking
from tests.lafid_assets.release.installation import versions_of


@pytest.fixture
def judged(
    lake: Lake, tracking: Tracking, register_version: Callable[..., str], row_of: Callable[..., dict[str, Any]]
) -> Callable[..., None]:
    """Registers the next version, with a judgement unless there is no verdict; it becomes champion if it is to."""

    def go(verdict: str | None, against: str | None = None, *, champion: bool = False) -> None:
        sha256 = f"checkpoint {verdict} {against}"
        number = register_version(sha256)
        if verdict is not None:
            said = {"rule": "likeness", "verdict": verdict, "figure": 0.1, "bound": 0.0, "sentence": "it looks like strangers"}
            known = {"judgement_id": f"j{number}", "model_name": "lafid", "model_version": number, "checkpoint_sha256": sha256}
            known |= {"judged_at": f"2026-01-0{number}", "verdict": verdict, "findings": [said], "against_version": against}
            frame = JUDGEMENTS.frame([row_of(JUDGEMENTS, **known)])
            lake.commit(lambda writer: writer.add("judgements", frame))
        if champion:
            with at_registry(lake, tracking, "lafid") as registry:
                registry.promote(number, how="gate", why="passed", judgement_id=f"j{number}")

    return go


def _aliases(tracking: Tracking) -> dict[str, str]:
    return {alias: str(version) for alias, version in tracking.registered_model("lafid").aliases.items()}


def test_promote_and_roll_back(judged: Any, lafid: Any, lake: Lake, tracking: Tracking) -> None:
    """One registry for all of it: opening one costs seconds."""
    judged("passed", champion=True)
    judged("passed", "1")
    said = lafid("promote", "models:/lafid/2", "--why", "the team likes it")
    assert (said.code, said.out) == (0, "lafid: champion is version 2, before it was version 1\n")
    row = promotions_of(lake, "lafid").filter(alias="champion").row(-1, named=True)
    assert (row["how"], row["why"], row["judgement_id"]) == ("promote", "the team likes it", "j2")
    logged = versions_of(tracking)[1].source
    for address in ("models:/lafid@champion", logged):
        assert lafid("promote", address).out == "lafid version 2 is champion already\n"

    assert lafid("rollback", "--why", "it flickers").out == "lafid: champion is version 1, before it was version 2\n"
    assert _aliases(tracking) == {"champion": "1", "previous": "2"}
    row = promotions_of(lake, "lafid").filter(alias="champion").row(-1, named=True)
    assert (row["how"], row["why"]) == ("rollback", "it flickers")

    # What did not pass is refused; by force it needs a reason, which is recorded with what it was forced against.
    for verdict, objection in (
        ("refused", "is refused (it looks like strangers): judge it anew when that has changed"),
        ("undecided", "is undecided (it looks like strangers)"),
        (None, "was never judged: materialize registered_model"),
    ):
        judged(verdict, "1")
        number = versions_of(tracking)[-1].version
        refused = lafid("promote", f"models:/lafid/{number}")
        assert f"lafid version {number} {objection}" in refused.error
        assert "--force needs a reason" in lafid("promote", f"models:/lafid/{number}", "--force").error
    assert _aliases(tracking)["champion"] == "1"
    assert lafid("promote", "models:/lafid/3", "--force", "--why", "for the fair").code == 0
    row = promotions_of(lake, "lafid").filter(alias="champion").row(-1, named=True)
    assert (row["to_version"], row["judgement_id"]) == ("3", "j3")
    assert row["why"].startswith("for the fair (forced, though it is refused (it looks like strangers)")

    # A judgement against somebody else says nothing of the champion.
    error = lafid("promote", "models:/lafid/2").error
    assert "was judged against version 1, and champion is version 3: materialize model_evaluation and registered_model" in error

    # Withdrawn by hand, the next one need not be better than anybody.
    tracking.connect().delete_registered_model_alias("lafid", "champion")
    assert "has no champion to roll back from" in lafid("rollback").error
    assert lafid("promote", "models:/lafid/2").out == "lafid: champion is version 2, before it was nobody\n"


def test_what_cannot_be_found_is_told_with_what_there_is(judged: Any, lafid: Any) -> None:
    judged("passed", champion=True)
    assert "has no previous version to roll back to" in lafid("rollback").error
    known = "versions of lafid are 1, aliases champion of 1"
    assert f"has no models:/lafid/7: {known}" in lafid("promote", "models:/lafid/7").error
    assert f"has no models:/lafid@shop: {known}" in lafid("promote", "models:/lafid@shop").error
    assert "has no models:/other/1: its models are lafid" in lafid("promote", "models:/other/1").error
    assert "champion names no registered version: say models:/lafid@champion" in lafid("promote", "champion").error
    assert "has no model other: name another with --name" in lafid("rollback", "--name", "other").error
    long = "a" * (LONGEST_WHY + 1)
    assert "the reason is 1001 characters long" in lafid("promote", "models:/lafid/1", "--why", long).error


def test_a_store_without_tables_is_said_and_left(
    lafid: Any, tracking: Tracking, register_version: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_version("one")
    monkeypatch.setenv("LAFID_STORE", str(tmp_path / "wrong"))
    for command in (("promote", "models:/lafid/1"), ("rollback",)):
        assert f"there are no tables in {tmp_path / 'wrong'}: set LAFID_STORE" in lafid(*command).error
    assert not (tmp_path / "wrong").exists()


def test_without_a_registry_it_is_said(lafid: Any, lake: Lake, home: Path) -> None:
    assert "there is no registry at sqlite" in lafid("promote", "models:/lafid/1").error
    assert "has no model lafid" in lafid("rollback").error
    (home / "lafid.toml").write_text('[release]\nmodel_name = "team"\n')
    assert "has no model team" in lafid("rollback").error


@pytest.mark.parametrize("command", [("promote", "models:/lafid/1"), ("rollback",), ("lineage", "models:/lafid@champion")])
def test_a_registry_that_hangs_is_told_in_time(
    command: tuple[str, ...], lafid: Any, lake: Lake, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_module.ANSWER_S < 10
    monkeypatch.setattr(tracking_module, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begin = time.monotonic()
        assert "does not answer within" in lafid(*command).error
    assert time.monotonic() - begin < 10
