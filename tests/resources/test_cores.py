"""How many cores a run keeps busy."""

import os

import pytest

from resources.cores import limit_cores, usable_cores


@pytest.mark.parametrize(("given", "cores"), [(3.0, 3), (16.0, 8), (0.5, 1), (2.9, 2)])
def test_a_run_uses_what_it_was_given_of_what_there_is(monkeypatch: pytest.MonkeyPatch, given: float, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("LAFID_CPUS", "")
    assert usable_cores() == 8
    limit_cores(given)
    assert usable_cores() == cores
