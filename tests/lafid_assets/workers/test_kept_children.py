"""Children that one map leaves are the next one's, until the block is left."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lafid_assets.workers.pool import ChildLimits, Children, Done, kept_children, map_isolated
from tests.lafid_assets.workers.test_pool import LONG_S, own_pid, runs, wait_until


def _double(number: int) -> int:
    return 2 * number


def _pids(count: int = 1, *, environments: Sequence[Mapping[str, str]] = ()) -> list[int]:
    found = map_isolated(own_pid, [0, 1], lambda _: LONG_S, Children(count, environments))
    return [ending.value for _, ending in found if isinstance(ending, Done)]


def test_maps_inside_a_block_of_kept_children_share_them_and_none_outlives_it() -> None:
    with kept_children():
        [first] = set(_pids())
        [(_, ending)] = map_isolated(_double, [21], lambda _: LONG_S)
        assert ending == Done(42)
        assert set(_pids()) == {first}
        assert runs(first)
    assert not runs(first)
    assert first not in _pids()


def test_kept_child_that_died_is_not_taken_again() -> None:
    with kept_children():
        [died] = set(_pids())
        os.kill(died, signal.SIGKILL)
        wait_until(lambda: not runs(died))
        again = _pids()
        assert len(again) == 2, "no task was given to it"
        assert died not in again


def test_of_a_map_that_is_left_early_those_children_are_kept_that_have_nothing_to_do(tmp_path: Path) -> None:
    with kept_children():
        left = map_isolated(_sleep_after_the_first, [None, tmp_path / "pid"], lambda _: LONG_S, Children(2))
        _, idle = next(left)
        wait_until((tmp_path / "pid").exists)
        left.close()
        assert not runs(int((tmp_path / "pid").read_text()))
        assert set(_pids()) == {idle.value}


def _sleep_after_the_first(path: Path | None) -> int:
    if path is not None:
        whole = path.with_suffix(".part")
        whole.write_text(str(os.getpid()))
        whole.rename(path)
        time.sleep(600)
    return os.getpid()


def test_kept_child_goes_only_where_its_environment_is_asked_for() -> None:
    with kept_children():
        [plain] = set(_pids())
        [feeder] = set(_pids(environments=[{"DEVICE": "0"}]))
        assert plain != feeder
        assert set(_pids(environments=[{"DEVICE": "0"}])) == {feeder}
        assert set(_pids()) == {plain}


def test_kept_child_is_held_to_the_limits_of_the_map_that_takes_it() -> None:
    with kept_children():
        [first] = set(_pids())
        endings = map_isolated(own_pid, [0], lambda _: LONG_S, Children(1, limits=ChildLimits(recycle_tasks=2)))
        assert [ending.value for _, ending in endings] != [first]
