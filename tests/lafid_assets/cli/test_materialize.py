"""Which shards share a run."""

import pytest

from lafid_assets.cli.materialize import runs_of
from lafid_assets.partitions import MOST_SHARDS_PER_RUN

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
