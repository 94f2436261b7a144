"""A plugin of the tests: what collecting them imports lives to the end, and the garbage collector never looks through it.

Millions of objects of libraries: looking for garbage among them took a fifth of what collecting costs, in each test process, and
pytest looks ten times more when it ends.
"""

import atexit
import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # or libraries complain at the process's end of what they did not get back
