"""Aliases that move, and the record of it: `promotions`.

Belongs here: moving aliases so that registry and record agree, whatever is killed when, and telling a person's own change from
ours. Not here: whether a version may be promoted (`gates`, `judgement`), the registry's address (`resources.tracking`).

The registry and the lake share no transaction. An act is first written into the registry, as a tag of the model. Then its aliases
move, the most important first. Then it is recorded, and the tag is deleted. The next run finishes an act whose first alias has
moved, and drops one that had not begun. A difference to the record that is left after that is the work of a person, or of another
lake: it is recorded as such and left as it is.
"""

import getpass
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from pydantic import Field, ValidationError

from lafid_assets.schemas.registry import BY_HAND, BY_REGISTRATION, BY_ROLLBACK, JUDGEMENTS, PROMOTIONS
from model.strict import StrictModel
from resources.lake.lake import Lake
from resources.lake.writer import Writer
from resources.tracking import CANDIDATE, CHAMPION, PREVIOUS, Tracking

ACT_TAG = "lafid.act"
LONGEST_WHY = 1000
"""Characters: the registry keeps 5000 of a tag."""
CLOCKS_DIFFER = timedelta(hours=1)
"""How far the registry's clock may be ahead of ours."""
SOMEBODY = "somebody in the registry"


class PromotionRefused(ValueError):
    """The alias stays where it is; the message says why and what to do."""


class Move(StrictModel):
    """An alias from one version to another; None: nowhere."""

    promotion_id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    alias: str
    from_version: str | None
    to_version: str | None


class Act(StrictModel):
    """Moves that belong together. The first decides whether it has begun."""

    moves: tuple[Move, ...]
    moved_by: str
    why: str
    judgement_id: str | None
    how: str


class Registry:
    """One registered model, and nobody else of this store at work on its aliases: `at_registry` gives it.

    Attributes:
        aliases: alias to version, as they are.
    """

    def __init__(self, lake: Lake, tracking: Tracking, name: str) -> None:
        self.name, self._lake, self._tracking = name, lake, tracking
        self.aliases: dict[str, str] = {}

    def settle(self) -> None:
        """Finish or drop what was interrupted, and record what others did."""
        model = self._tracking.registered_model(self.name)
        self.aliases = {} if model is None else {alias: str(version) for alias, version in model.aliases.items()}
        if model is not None and ACT_TAG in model.tags:
            self._finish(model.tags[ACT_TAG])
        recorded = dict(promotions_of(self._lake, self.name).select("alias", "to_version").iter_rows())
        differing = [alias for alias in sorted({*self.aliases, *recorded}) if self.aliases.get(alias) != recorded.get(alias)]
        if differing:
            moves = [
                Move(alias=alias, from_version=recorded.get(alias), to_version=self.aliases.get(alias)) for alias in differing
            ]
            why = "changed outside LaFID, or in another lake"
            self._record(Act(moves=tuple(moves), moved_by=SOMEBODY, why=why, judgement_id=None, how=BY_HAND))

    def make_candidate(self, version: str) -> None:
        """Point `candidate` to a version that was registered just now."""
        changes = {CANDIDATE: version} if self.aliases.get(CHAMPION) != version else {}
        self._act(changes, BY_REGISTRATION, "registered, to be judged", None)

    def promote(self, version: str, *, how: str, why: str, judgement_id: str | None) -> None:
        """Make a version champion, and what was champion previous."""
        champion = self.aliases.get(CHAMPION)
        if champion == version:
            return
        changes: dict[str, str | None] = {CHAMPION: version}
        if champion is not None:
            changes[PREVIOUS] = champion
        if self.aliases.get(CANDIDATE) == version:
            changes[CANDIDATE] = None
        self._act(changes, how, why, judgement_id)

    def roll_back(self, why: str) -> tuple[str, str]:
        """Swap champion and previous.

        Returns:
            what was champion, and what is.

        Raises:
            PromotionRefused: there are not both.
        """
        champion, previous = self.aliases.get(CHAMPION), self.aliases.get(PREVIOUS)
        if champion is None:
            raise PromotionRefused(f"{self.name} has no champion to roll back from: `lafid promote` makes one")
        if previous is None or previous == champion:
            raise PromotionRefused(f"{self.name} has no previous version to roll back to: `lafid promote` can name any version")
        self._act({CHAMPION: previous, PREVIOUS: champion}, BY_ROLLBACK, why, None)
        return champion, previous

    def _act(self, changes: Mapping[str, str | None], how: str, why: str, judgement_id: str | None) -> None:
        moves = (Move(alias=alias, from_version=self.aliases.get(alias), to_version=to) for alias, to in changes.items())
        moved = tuple(move for move in moves if move.from_version != move.to_version)
        if not moved:
            return
        act = Act(moves=moved, moved_by=_who(), why=why[:LONGEST_WHY], judgement_id=judgement_id, how=how)
        self._tracking.connect().set_registered_model_tag(self.name, ACT_TAG, act.model_dump_json())
        for move in act.moves:
            self._point(move.alias, move.to_version)
        self._record(act)
        self._tracking.connect().delete_registered_model_tag(self.name, ACT_TAG)

    def _finish(self, tag: str) -> None:
        """Finish, or drop, an act that an interrupted run left in the registry."""
        try:
            act = Act.model_validate_json(tag)
        except ValidationError:
            act = None  # another LaFID's: what its aliases say now counts
        if act is not None and act.moves and self.aliases.get(act.moves[0].alias) == act.moves[0].to_version:
            for move in act.moves[1:]:
                if self.aliases.get(move.alias) == move.from_version:
                    self._point(move.alias, move.to_version)
            self._record(act)
        self._tracking.connect().delete_registered_model_tag(self.name, ACT_TAG)

    def _point(self, alias: str, version: str | None) -> None:
        client = self._tracking.connect()
        if version is None:
            client.delete_registered_model_alias(self.name, alias)
            self.aliases.pop(alias, None)
        else:
            client.set_registered_model_alias(self.name, alias, version)
            self.aliases[alias] = version

    def _record(self, act: Act) -> None:
        told = act.model_dump(exclude={"moves"}) | {"model_name": self.name}

        def add(writer: Writer) -> None:
            newest = writer.sql(f"SELECT max(moved_at) FROM {PROMOTIONS.name} WHERE model_name = ?", [self.name]).item()
            at = datetime.now(UTC)
            if newest is not None:  # a machine whose clock is behind must not record its acts before those of others
                at = max(at, datetime.fromisoformat(newest) + timedelta(microseconds=1))
            times = [(at + timedelta(microseconds=place)).isoformat(timespec="microseconds") for place in range(len(act.moves))]
            rows = [move.model_dump() | told | {"moved_at": time} for move, time in zip(act.moves, times, strict=True)]
            writer.add(PROMOTIONS.name, PROMOTIONS.frame(rows))

        self._lake.commit(add)


@contextmanager
def at_registry(lake: Lake, tracking: Tracking, name: str, *, wait: bool = True) -> Iterator[Registry]:
    """The model's aliases, settled, and kept from others of this store meanwhile.

    Raises:
        StoreBusy: another one is at them, and is not waited for.
        TrackingUnreachable: the registry does not answer.
    """
    with lake.leases.held(f"registry/{name}", wait=wait):
        registry = Registry(lake, tracking, name)
        registry.settle()
        yield registry


def promotions_of(lake: Lake, name: str) -> pl.DataFrame:
    """Rows of `promotions` of a model, in their order."""
    return lake.sql(f"SELECT * FROM {PROMOTIONS.name} WHERE model_name = ? ORDER BY moved_at", [name])


def known_models(lake: Lake) -> list[str]:
    """Models that LaFID has registered here; others' are none of its business."""
    named = f"SELECT model_name FROM {JUDGEMENTS.name} UNION SELECT model_name FROM {PROMOTIONS.name} ORDER BY model_name"
    return lake.sql(named)["model_name"].to_list()


def has_been(lake: Lake, alias: str, version: Any) -> bool:
    """Whether an alias has ever pointed to a version: a run gives it once, and who took it away has the last word.

    Args:
        version: MLflow's; an earlier one of the same number, whose model was deleted, is another.
    """
    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC) - CLOCKS_DIFFER
    rows = promotions_of(lake, version.name).filter(alias=alias, to_version=str(version.version))
    return not rows.filter(pl.col("moved_at") >= made.isoformat(timespec="microseconds")).is_empty()


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
