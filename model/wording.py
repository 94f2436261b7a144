"""How messages name many things.

Belongs here: words that messages of several chapters share. Not here: any one message.
"""

from collections.abc import Iterable


def first_few(names: Iterable[object], most: int = 3) -> str:
    """The first of them, and how many more there are."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
