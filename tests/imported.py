"""A plugin of the tests: what collecting them imports lives to the end, and the garbage collector never looks through it.

Millions of objects of libraries: looking for garbage among them took a fifth of what collecting costs, and seconds more when
pytest and the interpreter end, in each test process.
"""

import atexit
import gc
import os
from collections.abc import Generator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # of xdist, which has told everything by then; first registered, called last
        atexit.register(os._exit, 0)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # or libraries complain at the process's end of what they did not get back
