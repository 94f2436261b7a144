"""A plugin of the tests: loops that find more the longer they run. `make test` runs them short, `make soak` long."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="tests marked `soak` run their long form")


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether loops run long."""
    return bool(request.config.getoption("--soak"))
