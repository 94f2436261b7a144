"""Kill it at any moment and run it again: what is left is what an undisturbed run leaves. One checker for all that promise it.

A moment is a call of a watched function, which is not made: after every one of them the work is begun anew, as grain restores an
iterator at every state and compares the rest. That is quick and misses no moment that is named. What a real SIGKILL leaves of a
process, its children and its files is tested where they are (tests/e2e/test_kill.py and others).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

T = TypeVar("T")
Watched = tuple[object, str]
"""Who owns a function, and the function's name there: a module, a class or an object."""


class Killed(BaseException):
    """The process has gone: no code that mends errors may catch it."""


@contextmanager
def killed_at(at: int | None, *watched: Watched) -> Iterator[list[str]]:
    """In place of call number `at`, from 0 over all that is watched, the process dies. None: it lives, and its calls are counted.

    Yields:
        The names of the calls so far.
    """
    calls: list[str] = []

    def dying(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            calls.append(name)
            if len(calls) - 1 == at:
                raise Killed(name)
            return function(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in watched:
            patch.setattr(owner, name, dying(name, getattr(owner, name)))
        yield calls


def ends_alike(fresh: Callable[[], T], go: Callable[[T], object], left: Callable[[T], object], *watched: Watched) -> list[str]:
    """Killed at each of its moments and run again, the work leaves what it leaves undisturbed.

    Args:
        fresh: makes a state in which nothing is done yet.
        go: does the work on a state, or what is missing of it.
        left: what of a state is compared.

    Returns:
        The names of the calls of an undisturbed run, each of which was a moment.

    Raises:
        AssertionError: names the moment after which something else is left.
    """
    undisturbed = fresh()
    with killed_at(None, *watched) as calls:
        go(undisturbed)
    expected = left(undisturbed)
    assert calls, "nothing that is watched was called"
    for at, name in enumerate(calls):
        state = fresh()
        with pytest.raises(Killed), killed_at(at, *watched):
            go(state)
        go(state)
        assert left(state) == expected, f"killed in place of call {at}, {name}"
    return calls
