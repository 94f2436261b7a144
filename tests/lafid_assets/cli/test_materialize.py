"""Which shards share a run."""

from typing import Any

import pytest

from lafid_assets.cli.materialize import CurationChoices, Materializer, open_materializer
from lafid_assets.constraints.policies import POLICIES
from lafid_assets.lafid_toml.settings_check import deciding, ops_of
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.steps.partitions import MOST_SHARDS_PER_RUN, runs_of, shards_per_run
from resources.settings import Settings

ORDER = list("abcdefghijklmnop")


@pytest.mark.parametrize(
    ("stale", "runs"),
    [("", []), ("c", ["c"]), ("bc", ["bc"]), ("abd", ["ab", "d"]), ("ca", ["a", "c"]), ("abcdefghij", ["abcdefgh", "ij"])],
)
def test_neighbours_share_a_run_as_many_as_fit(stale: str, runs: list[str]) -> None:
    assert MOST_SHARDS_PER_RUN == 8
    assert ["".join(run) for run in runs_of(stale, ORDER)] == runs


def test_whoever_pays_much_for_a_start_takes_all_neighbours_at_once() -> None:
    assert ["".join(run) for run in runs_of("abcdefghij", ORDER, most=10)] == ["abcdefghij"]


@pytest.mark.parametrize(
    ("shards", "clips", "in_a_run"),
    [(24, 24 * 500, 4), (24, 24 * 50, 8), (24, 24 * 2500, 1), (24, 0, 8), (26_400, 13_200_000, 8), (3_000, 7_500_000, 3)],
)
def test_a_run_of_a_cluster_takes_as_few_shards_as_pay_for_its_start(shards: int, clips: int, in_a_run: int) -> None:
    """More only where small shards make its work short, or all of them the queue long."""
    assert shards_per_run(shards, clips, MOST_SHARDS_PER_RUN) == in_a_run


def test_the_dataset_is_told_what_its_shards_were_curated_under(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[dict[str, Any]] = []
    monkeypatch.setattr(Materializer, "run", lambda *_, ops=None, **__: ran.append(ops or {}))
    open_materializer(settings).curate([], CurationChoices(policy=POLICIES["faithfulfaces"]))
    [ops] = ran
    assert ops["pose_filtered_clips"]["config"]["name"] == "faithfulfaces"
    (settings.home / "lafid.toml").write_text("[face_info]\nscan = false\n[pose_filtered_clips]\nfaces_in_frame_max = 1\n")
    now = SettingsFile.of(settings.home)
    assert deciding(ops_of(now, ops)) == deciding(ops), "whatever becomes of the file meanwhile"
