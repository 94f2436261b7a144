"""`lafid.toml`: what every run is told, unless its launchpad or its command line says otherwise.

    version = 1

    [engine]                        # of face_info and speech_info alike
    engine = "insightface"

    [pose_filtered_clips]           # a section an asset, with the fields of its launchpad
    policy = "faithfulfaces"        # a shipped policy or a TOML file; further lines change it

Belongs here: its form, and what it tells one asset. Not here: where it lies (`settings_place`), what a field means (each asset's
config), whether all of the file fits (`settings_check`), addresses (`resources.settings`).
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, create_model

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.constraints.policies import POLICIES, FacePolicy, PolicyUnusable, first_fault, policy_of
from lafid_assets.ingest.registration import DEFAULT_CLIPS_PER_SHARD
from lafid_assets.lafid_toml.settings_place import FILE, SettingsPlace
from lafid_assets.lafid_toml.settings_place import SettingsUnusable as SettingsUnusable
from model.strict import StrictModel

SHARED = {
    "engine": ("face_info", "speech_info"),
    "training": ("training_latents", "fusion_dit"),
    "release": ("model_evaluation", "registered_model"),
}
"""Sections that several assets read: what is said once is the same for all of them."""
MODEL = "lafid"
"""The registered model, unless the file says otherwise."""
POLICY_ASSET, POLICY, NONE = "pose_filtered_clips", "policy", "none"
"""The face policy's section: its line `policy` names the one that its other lines change, and "none" switches a rule off."""


class Sources(StrictModel):
    """How files become shards."""

    least_new_clips: int = Field(1, ge=1, description="Clips that the drop folder must hold before they become a shard")
    longest_wait_minutes: float = Field(60.0, ge=0, description="After which fewer do, too")
    clips_per_shard: int = Field(
        DEFAULT_CLIPS_PER_SHARD, ge=1, description="Clips in a new shard; shards that are there stay as they are"
    )
    scratch_gb: float = Field(100.0, gt=0, description="What clips fetched from S3 may take in the home at most, GB")


class Automation(StrictModel):
    """When what is switched on in the UI runs by itself, and how much of it. Every `_cron` is a cron expression in UTC."""

    curate_cron: str = Field("*/15 * * * *", description="When `missing_shards` looks")
    shards_at_once: int = Field(8, ge=1, le=50, description="Runs that `missing_shards` asks for at a look, at most")
    curate_again: bool = Field(
        False,
        description="Whether `missing_shards` also asks for shards that were finished under other settings or an older LaFID",
    )
    tries: int = Field(
        3, ge=1, description="How often a schedule asks for the same work that does not get done, before it leaves it to a person"
    )
    refresh_cron: str = Field("0 2 * * *", description="When `nightly_refresh` looks")
    train_cron: str = Field(
        "0 3-9 * * 6", description="When `weekly_training` looks; more than once, since it asks for nothing while others wait"
    )
    health_cron: str = Field("0 6 * * *", description="When `daily_health` and `daily_checks` run")
    alert_url_env: str | None = Field(
        None, description="Name of the environment variable that holds the address of the webhook to which `alerts` posts"
    )


class General(StrictModel):
    """What belongs to no asset."""

    version: Literal[1] = Field(1, description="Of this file's form")
    sources: Sources = Sources()
    automation: Automation = Automation()
    checks: CheckBounds = CheckBounds()


@dataclass(frozen=True)
class SettingsFile:
    """One installation's file; one without it tells nothing, and every default counts.

    Attributes:
        told: section to its lines, of assets and of what several assets share.
        is_there: whether there is a file.
    """

    place: SettingsPlace
    general: General
    told: Mapping[str, Mapping[str, Any]]
    is_there: bool = False

    @classmethod
    def of(cls, home: Path) -> Self:
        """The file of an installation.

        Raises:
            SettingsUnusable: it cannot be read, is no TOML, or a line that belongs to no asset is wrong.
        """
        place = SettingsPlace.of(home)
        path, content = place.address, place.read()
        try:
            lines = tomllib.loads((content or b"").decode("utf-8-sig"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsUnusable(f"{path} is no TOML: {error}") from error
        general = {name: lines.pop(name) for name in General.model_fields if name in lines}
        if stray := [name for name, section in lines.items() if not isinstance(section, dict)]:
            raise SettingsUnusable(f"{path}: {stray[0]} stands in no section: put it below one, as [face_info]")
        try:
            return cls(place, General(**general), lines, content is not None)
        except ValidationError as error:
            raise SettingsUnusable(f"{path}: {first_fault(error)}") from error

    @property
    def path(self) -> str:
        """Where it is, or would be."""
        return self.place.address

    @property
    def model_name(self) -> str:
        """The registered model of which runs make versions."""
        return str(self.of_asset("registered_model").get("model_name", MODEL))

    def of_asset(self, asset: str) -> dict[str, Any]:
        """The lines for an asset's config; what is not named has its default.

        Raises:
            SettingsUnusable: a line is said twice, or its policy is unknown.
        """
        lines: dict[str, Any] = dict(self.told.get(asset, {}))
        for section, assets in SHARED.items():
            if asset in assets:
                shared = self.told.get(section, {})
                if twice := sorted(shared.keys() & lines.keys()):
                    raise SettingsUnusable(f"{self.path}: {twice[0]} is said in [{section}] and in [{asset}]: keep one of them")
                lines |= shared
        return self._with_policy(lines) if asset == POLICY_ASSET and lines else lines

    def face_policy(self) -> FacePolicy:
        """The policy that the file tells.

        Raises:
            SettingsUnusable: a line of it does not fit.
            PolicyUnusable: the policy that it names cannot be read.
        """
        try:
            return FacePolicy(**self.of_asset(POLICY_ASSET))
        except ValidationError as error:
            raise SettingsUnusable(f"{self.path}, [{POLICY_ASSET}]: {first_fault(error)}") from error

    def _with_policy(self, lines: dict[str, Any]) -> dict[str, Any]:
        named = str(lines.pop(POLICY, FacePolicy().name))
        beside = self.place.beside(named)  # never one that lies where the command was given
        if named not in POLICIES and beside is None:
            raise PolicyUnusable(f"there is no policy {named!r}: choose {', '.join(POLICIES)}, or give a TOML file beside {FILE}")
        policy = POLICIES[named] if beside is None else policy_of(beside, named)
        fields = policy.model_dump()
        values = {name: None if value == NONE else value for name, value in lines.items()}
        if fields | values != fields:
            fields["name"] = f"{policy.name}+"
        return fields | values


def merged(lines: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`lines` with those of `over` in their place; of a group of lines only those that `over` names."""
    both = {name: merged(lines[name], value) for name, value in over.items() if _is_group(value) and _is_group(lines.get(name))}
    return {**lines, **over, **both}


def as_defaults(config: type[BaseModel], lines: Mapping[str, Any]) -> type[BaseModel]:
    """A config whose defaults are what the file tells: a launchpad opens with every default, and names them all to its run.

    A group that may be left out altogether has no lines in a launchpad, and stays as it is.

    Raises:
        ValidationError: a line does not fit.
    """
    standing, fields = config(**lines), dict[str, Any]()
    for name in lines:
        field, value = config.model_fields[name], getattr(standing, name)
        if not isinstance(value, BaseModel):
            fields[name] = (field.annotation, Field(value, description=field.description))
        elif field.annotation is type(value):
            group = as_defaults(type(value), lines[name])
            fields[name] = (group, Field(default_factory=group, description=field.description))
    return create_model(config.__name__, __base__=config, __doc__=config.__doc__, **fields)


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping)
