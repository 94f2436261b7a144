"""All of `lafid.toml` at once: does it fit, what does it tell a run, and which hash has what decides the tables?

Belongs here: what needs every asset's config. Not here: reading the file (`settings_file`), which config belongs to which asset
(`step_registry`).
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lafid_assets.constraints.policies import PolicyUnusable, first_fault
from lafid_assets.jobs import DATASET, PER_SHARD, is_cron
from lafid_assets.lafid_toml.settings_file import (
    NONE,
    POLICY,
    POLICY_ASSET,
    SHARED,
    Automation,
    General,
    SettingsFile,
    SettingsUnusable,
    merged,
)
from lafid_assets.lafid_toml.settings_place import FILE
from lafid_assets.steps.step_registry import all_steps
from resources.face_engine import EngineChoice

Ops = Mapping[str, Any]
"""Dagster's run config: asset to `{"config": its lines}`."""


def check(file: SettingsFile) -> None:
    """Check every line of the file.

    Raises:
        SettingsUnusable: a section or a line is unknown, or a value impossible; the message names it.
    """
    known = {*all_steps(), *SHARED}
    if strange := sorted(set(file.told) - known):
        raise SettingsUnusable(f"{file.path} has a section [{strange[0]}]: choose of {', '.join(sorted(known))}")
    for asset in all_steps():
        _config(file, asset)
    for line in ("longest_wait_hours_of", "overdue_hours"):
        if strange := sorted(set(getattr(file.general.checks, line)) - set(all_steps())):
            raise SettingsUnusable(f"{file.path}, [checks]: {line} names {strange[0]}, which is no asset")
    automation(file)


def automation(file: SettingsFile) -> Automation:
    """What runs by the clock, and when.

    Raises:
        SettingsUnusable: a line is no cron expression.
    """
    told = file.general.automation
    for name, line in told.model_dump().items():
        if name.endswith("_cron") and not is_cron(line):
            raise SettingsUnusable(f'{file.path}, [automation]: {name}: {line!r} is no cron expression, such as "0 2 * * *"')
    return told


def ops_of(file: SettingsFile, named: Ops) -> dict[str, Any]:
    """What the file tells every asset, with what a run names in its place.

    Args:
        named: of one run, in its launchpad or on its command line.

    Raises:
        SettingsUnusable: as `check`, or what the run names does not fit.
    """
    check(file)
    told = {}
    for asset, (_, config) in all_steps().items():
        lines = merged(file.of_asset(asset), named.get(asset, {}).get("config", {}))
        try:
            meant = config(**lines).model_dump(mode="json")
        except ValidationError as error:
            raise SettingsUnusable(f"the config of {asset}: {first_fault(error)}") from error
        if lines:
            told[asset] = {"config": _of_lines(lines, meant)}
    return told


def in_full(told: Ops) -> dict[str, Any]:
    """The same with every line of every asset: a run that names them all is told so whatever becomes of the file meanwhile."""
    return {asset: {"config": _told(asset, told).model_dump(mode="json")} for asset in all_steps()}


def refuse_unusable(told: Ops, assets: Collection[str]) -> None:
    """Now, and not when hours have been spent on the steps before: every step says itself what it can use.

    Raises:
        ValueError, OSError, LookupError: an asset's config names an engine, a model, a file or a key that is not there.
    """
    for asset, (step, _) in all_steps().items():
        if asset in assets:
            config = _told(asset, told)
            step.facts(config)
            step.require(config)


def engine_of(told: Ops) -> EngineChoice:
    """The engine that looks at faces."""
    lines = _told("face_info", told).model_dump(include=set(EngineChoice.model_fields))
    return EngineChoice(**lines)


def named_otherwise(file: SettingsFile, named: Ops) -> list[str]:
    """A line for each value that a command line names and the file, or its default, says otherwise."""
    said = []
    for asset, told in named.items():
        standing = _config(file, asset).model_dump(mode="json")
        lines = told.get("config", {})
        running = all_steps()[asset][1](**merged(file.of_asset(asset), lines)).model_dump(mode="json")
        for name in lines:
            if standing[name] != running[name]:
                said.append(f"{asset}.{name} is {_shown(running[name])} in this run, {_shown(standing[name])} in {FILE}")
    return said


def deciding_sha256(told: Ops) -> str:
    """Hash of what decides the tables of curation and dataset: defaults count like what was said."""
    return hashlib.sha256(json.dumps(deciding(told), sort_keys=True).encode()).hexdigest()


def deciding(told: Ops) -> dict[str, dict[str, Any]]:
    """The same as asset to its lines."""
    return {
        asset: _told(asset, told).model_dump(mode="json", exclude=set(all_steps()[asset][0].not_deciding))
        for asset in (*PER_SHARD, *DATASET)
    }


def differing(before: str, now: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """`asset.line: before -> now` for every line that is said otherwise. `before`: JSON of what `deciding` gave then."""
    then = json.loads(before)
    return [
        f"{asset}.{name}: {_shown(then.get(asset, {}).get(name))} -> {_shown(value)}"
        for asset, lines in now.items()
        for name, value in lines.items()
        if then.get(asset, {}).get(name) != value
    ]


def template() -> str:
    """A file that changes nothing: every line there is, with its meaning and default, commented out."""
    shared = {section: _fields_of_all(assets) for section, assets in SHARED.items()}
    parts = [f"# LaFID's settings: what every run of this home is told. Take the # away to change a line.\n\nversion = {1}"]
    for name in ("sources", "automation", "checks"):
        parts.append(_section(name, General.model_fields[name].annotation.model_fields))  # type: ignore[union-attr]
    parts += [_section(name, fields, "of " + " and ".join(SHARED[name])) for name, fields in shared.items()]
    for asset, (_, config) in all_steps().items():
        elsewhere = {name for section, assets in SHARED.items() if asset in assets for name in shared[section]}
        if fields := {name: field for name, field in config.model_fields.items() if name not in elsewhere}:
            parts.append(_section(asset, fields))
    return "\n\n".join(parts) + "\n"


def _fields_of_all(assets: tuple[str, ...]) -> dict[str, FieldInfo]:
    """The fields that all of them have, with the same default."""
    first, *others = (all_steps()[asset][1].model_fields for asset in assets)
    return {
        name: field
        for name, field in first.items()
        if all(name in other and _default(other[name]) == _default(field) for other in others)
    }


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _section(name: str, fields: Mapping[str, FieldInfo], remark: str = "") -> str:
    lines = [f"[{name}]" + (f"  # {remark}" if remark else "")]
    if name == POLICY_ASSET:
        lines += ["# A shipped policy or a TOML file beside this one; the lines below change it.", f'# {POLICY} = "cofe"']
    for field, info in fields.items():
        lines += [f"# {line}" for line in _field(field, info, none=f'"{NONE}"' if name == POLICY_ASSET else "(nothing)")]
    return "\n".join(lines)


def _field(name: str, info: FieldInfo, none: str) -> Iterator[str]:
    if info.description:
        yield f"{info.description.rstrip('.')}."
    default = _default(info)
    value = default.model_dump(mode="json") if isinstance(default, BaseModel) else default
    yield f"{name} = {none if value is None else _toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items() if one is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value)


def _of_lines(lines: Mapping[str, Any], meant: Mapping[str, Any]) -> dict[str, Any]:
    """Each line with the value that its config makes of it: Dagster takes no "60" for 60."""
    return {
        name: _of_lines(value, meant[name]) if isinstance(value, Mapping) and isinstance(meant[name], Mapping) else meant[name]
        for name, value in lines.items()
    }


def _told(asset: str, told: Ops) -> BaseModel:
    return all_steps()[asset][1](**told.get(asset, {}).get("config", {}))


def _config(file: SettingsFile, asset: str) -> BaseModel:
    try:
        return all_steps()[asset][1](**file.of_asset(asset))
    except PolicyUnusable as error:
        raise SettingsUnusable(f"{file.path}, [{asset}]: {error}") from error
    except ValidationError as error:
        raise SettingsUnusable(f"{file.path}, [{asset}]: {first_fault(error)}") from error


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value)
