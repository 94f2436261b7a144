"""What asking gives: one line for each thing that was asked.

Belongs here: the form, and that a check which fails costs only itself. Not here: any check.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from lafid_assets.lafid_toml.settings_check import Ops
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.runs.failure_line import one_line
from resources.settings import Settings
from resources.trainer.launch import LaunchConfig


class State(StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARNS = "warns"
    BLOCKS = "blocks"


@dataclass(frozen=True)
class Finding:
    """A thing, how it stands, and a line on it: with the remedy, where it is not as it should be."""

    about: str
    state: State
    said: str


class Remark(Exception):
    """Raised by a check: runs work all the same; the message says what is odd, and what to do."""


@dataclass(frozen=True)
class Node:
    """What this node is told, as far as it can be read.

    Attributes:
        dagster_url: where Dagster keeps its records; None: in a file of the home.
        is_cluster: whether Dagster sends runs to other machines.
    """

    settings: Settings
    dagster_url: str | None
    is_cluster: bool

    def file(self) -> SettingsFile:
        """
        Raises:
            SettingsUnusable: the file cannot be read.
        """
        return SettingsFile.of(self.settings.home)

    def told(self) -> Ops:
        """
        Raises:
            SettingsUnusable: a line of it does not fit.
        """
        from lafid_assets.lafid_toml.settings_check import ops_of

        return ops_of(self.file(), {})

    def launch(self) -> LaunchConfig:
        """
        Raises:
            LaunchUnusable: the launch file cannot be used.
        """
        return LaunchConfig.from_environment()


Check = Callable[[Node], str | None]
"""What is well, in words; None where the thing does not concern this node. Raises `Remark` for what is odd, and anything else for
what blocks."""


def asked(node: Node, checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """Every check in turn; one that fails costs only itself."""
    for about, check in checks:
        try:
            said, state = check(node), State.OK
        except Remark as remark:
            said, state = str(remark), State.WARNS
        except Exception as error:
            said, state = one_line(error), State.BLOCKS
        if said is not None:
            yield Finding(about, state, said)
