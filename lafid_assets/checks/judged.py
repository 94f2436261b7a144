"""What a check that warns has to say.

Belongs here: its form. Not here: any check.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Judged(NamedTuple):
    """One check's answer.

    Attributes:
        passed: False where somebody should look.
        said: what was found, in one sentence, or why there is nothing to judge.
        figures: what is plotted over time; what could not be measured is absent.
    """

    passed: bool
    said: str
    figures: Mapping[str, float | int]


def nothing_to_judge(why: str) -> Judged:
    """A check that passes because it has nothing to look at, or nothing to compare with."""
    return Judged(True, f"nothing to judge: {why}", {})
