"""A plugin of the tests: what `make soak` runs beyond `make test`.

Marked `soak` are loops that find more the longer they run: `make test` runs them short. Marked `long` is what takes a minute or
more and is covered in parts by quicker tests: `make test` leaves it out.
"""

import pytest

LONGEST_S = 7200
"""How long a test of `make soak` may take."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="tests marked `soak` run their long form, those marked `long` run at all"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if config.getoption("--soak"):
            item.add_marker(pytest.mark.timeout(LONGEST_S), append=False)
        elif item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="a minute or more: `make soak` runs it"))


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether loops run long."""
    return bool(request.config.getoption("--soak"))
