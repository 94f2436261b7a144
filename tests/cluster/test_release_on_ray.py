"""The release on a real cluster: an evaluation by several nodes, a training that is cancelled and goes on, a run that is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_trial import in_a_site
from tests.demo_home import Demo


@pytest.mark.e2e
@pytest.mark.long
def test_a_release_spreads_over_nodes_and_loses_nothing(demo: Demo, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = in_a_site(folder, "release_trial", str(demo.home))
    assert (folder / "report.json").is_file(), said
    seen: dict[str, Any] = json.loads((folder / "report.json").read_text())
    with capsys.disabled():
        print(said)
    # An evaluation by two nodes, one of which was lost with its share: bit for bit one machine's.
    assert set(seen["share_nodes"]) == {"node2", "node3"}, "the nodes that tell Ray of a GPU, and no other"
    assert all("SUCCESS" in ends for ends in seen["shares"].values()), said
    assert sum(ends.count("FAILURE") for ends in seen["shares"].values()) >= 1, "the lost one"
    assert (seen["videos"], seen["videos_differ"], seen["tables_differ"]) == (3, [], [])
    assert seen["drawn_by_asset"] == [], "model_evaluation finds what the shares have drawn"
    # A training asks for a GPU, saves its state when it is cancelled, and goes on from there.
    assert set(seen["training_nodes"]) == {"node2", "node3"}
    assert (seen["waited_for_gpu"], seen["not_held_up"]) == ("STARTING", "SUCCESS")
    assert seen["cancelled"] == "CANCELED", said
    assert seen["state_in_store"], said
    assert seen["went_on_from"] > seen["saved_step"] > 0, said
    # A run that was lost with its node before it began.
    assert seen["lost"] == ["FAILURE, begun: False", "SUCCESS"], said
