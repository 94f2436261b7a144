"""The base of every record that is read from outside: it cannot be changed, and refuses what it does not know.

Belongs here: that base alone. Not here: any record.
"""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Values with names and types. An unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
