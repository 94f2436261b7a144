"""Which shards share a run."""

from typing import Any

import pytest

from lafid_assets.cli.materialize import CurationChoices, Materializer, open_materializer
from lafid_assets.constraints.policies import POLICIES
from lafid_assets.partitions import MOST_SHARDS_PER_RUN, runs_of
from lafid_assets.settings_check import deciding, ops_of
from lafid_assets.settings_file import SettingsFile
from resources.settings import Settings

ORDER = list("abcdefghijklmnop")


@pytest.mark.parametrize(
    ("stale", "runs"),
    [
        ("", []),
        ("c", ["c"]),
        ("bc", ["bc"]),
        ("abd", ["ab", "d"]),
        ("ca", ["a", "c"]),
        ("abcdefghij", ["abcdefgh", "ij"]),
    ],
)
def test_neighbours_share_a_run_as_many_as_fit(stale: str, runs: list[str]) -> None:
    assert MOST_SHARDS_PER_RUN == 8
    assert ["".join(run) for run in runs_of(stale, ORDER)] == runs


def test_whoever_pays_much_for_a_start_takes_all_neighbours_at_once() -> None:
    assert ["".join(run) for run in runs_of("abcdefghij", ORDER, most=10)] == ["abcdefghij"]


def test_the_dataset_is_told_what_its_shards_were_curated_under(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[dict[str, Any]] = []
    monkeypatch.setattr(Materializer, "run", lambda *_, ops=None, **__: ran.append(ops or {}))
    open_materializer(settings).curate([], CurationChoices(policy=POLICIES["faithfulfaces"]))
    [ops] = ran
    assert ops["pose_filtered_clips"]["config"]["name"] == "faithfulfaces"
    (settings.home / "lafid.toml").write_text("[face_info]\nscan = false\n[pose_filtered_clips]\nfaces_in_frame_max = 1\n")
    now = SettingsFile.of(settings.home)
    assert deciding(ops_of(now, ops)) == deciding(ops), "whatever becomes of the file meanwhile"
