"""What the site says of tables, settings, rules and commands: written at every build from the code itself.

Belongs here: code -> Markdown. Not here: prose, which stands in the pages around it.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    import dagster as dg

REGISTRATION = "registration, which `lafid curate` and the sensor `clip_drop` begin with"
JUDGING = "the asset `registered_model`, `lafid promote`, `lafid rollback` and the sensor `registry_watch`"
WRITTEN_BESIDE_STEPS = {
    "clip_roots": REGISTRATION,
    "clip_files": REGISTRATION,
    "clip_rows": REGISTRATION,
    "judgements": JUDGING,
    "promotions": JUDGING,
    "marks": "the review page, which `lafid review` opens",
}
"""Tables that no step writes, and who does."""
UNITS = {
    "_deg": "degrees",
    "_px": "px",
    "_s": "s",
    "_ns": "ns",
    "_hz": "Hz",
    "_bytes": "bytes",
    "_db": "dB",
    "_mib": "MiB",
    "_share": "share, 0 to 1",
    "fps": "1/s",
}
"""How a column's name ends, and the unit that it has by that."""


def tables() -> str:
    """The data dictionary: every asset, every table, every column."""
    return "\n".join([*_assets(), *_dictionary()])


def settings() -> str:
    """Every line of `lafid.toml`."""
    return "\n".join(_settings())


def commands() -> str:
    """Every command with its options, as Typer writes its own documentation."""
    import typer
    from typer.cli import get_docs_for_click

    from lafid_assets.cli.main import app

    root = typer.main.get_command(app)
    text = get_docs_for_click(obj=root, ctx=typer.Context(root), name="lafid", title=" ")
    own = text[text.index("\n## ") :]  # the first part lists what follows
    own = own.replace("* `--help`: Show this message and exit.\n", "")
    return re.sub(r"^```console\n\$ (.*)\n```$", r"`\1`", own, flags=re.MULTILINE).replace("**Usage**:\n\n", "")


def rooms() -> str:
    """Every room of the house: its size, and what it holds."""
    import rooms as house

    return house.table()


def rules() -> str:
    """The face policy's rules in their order, with the thresholds of the shipped policies."""
    from lafid_assets.constraints.policies import POLICIES, RULES

    asks = {"min": "at least", "max": "at most", "above": "more than"}

    def threshold(rule: Any, policy: Any) -> str:
        figure = rule.threshold_in(policy)
        return "off" if figure is None else f"{asks[rule.bound]} {figure:g}"

    rows = (
        [f"`{rule.reason}`", f"`{rule.measure}`", *(threshold(rule, policy) for policy in POLICIES.values())] for rule in RULES
    )
    return "\n".join(_table(["reason", "measure", *(f"`{name}`" for name in POLICIES)], rows))


def checks() -> str:
    """Every check, of which assets it is, and what its failing does."""
    graph = _definitions().resolve_asset_graph()
    assets: dict[str, list[str]] = {}
    said: dict[str, tuple[bool, str]] = {}
    for key in sorted(graph.asset_check_keys):
        spec = graph.get_check_spec(key)
        assets.setdefault(spec.name, []).append(spec.asset_key.to_user_string())
        said[spec.name] = spec.blocking, _plain(" ".join((spec.description or "").split()))
    rows = (
        [
            f"`{name}`",
            ", ".join(f"`{asset}`" for asset in assets[name]) if len(assets[name]) <= SHOWN_ASSETS else "every table",
            "fails" if blocking else "warns",
            text,
        ]
        for name, (blocking, text) in said.items()
    )
    return "\n".join(_table(["check", "of", "", "holds when"], rows))


def reasons() -> str:
    """Every reason but those of a measured decision, and what to do about it."""
    from lafid_assets.outcomes import REASONS, Status

    rows = (
        [f"`{reason}`", status.value, remedy]
        for status, remedies in REASONS.items()
        if status != Status.REJECTED
        for reason, remedy in remedies.items()
    )
    return "\n".join(_table(["reason", "status", "what to do"], rows))


WRITERS: dict[str, Callable[[], str]] = {
    "tables": tables,
    "settings": settings,
    "commands": commands,
    "reasons": reasons,
    "rules": rules,
    "checks": checks,
    "rooms": rooms,
}
"""Name of a mark in a page to what writes its text."""


SHOWN_ASSETS = 8
"""A check of more assets is one of every table."""


@cache
def _definitions() -> "dg.Definitions":
    """What Dagster shows in a home without lafid.toml, whoever builds."""
    from lafid_assets.definitions import build_defs
    from resources.settings import Settings

    with tempfile.TemporaryDirectory() as home:
        return build_defs(Settings(home=Path(home), store_uri=home))


def _assets() -> Iterator[str]:
    from lafid_assets.definitions import ASSETS, build_defs
    from resources.settings import Settings

    road = [asset.key for asset in ASSETS]

    with tempfile.TemporaryDirectory() as home:  # a home without lafid.toml: the defaults, whoever builds
        specs = build_defs(Settings(home=Path(home), store_uri=home)).resolve_all_asset_specs()
    yield "## Assets\n"
    yield from _table(
        ["asset", "group", "per", "what it is"],
        (
            [
                f"[`{spec.key.to_user_string()}`](#{spec.key.to_user_string()})",
                spec.group_name,
                "shard" if spec.partitions_def else "all shards",
                _plain(" ".join((spec.description or "").split())),
            ]
            for spec in sorted(specs, key=lambda spec: road.index(spec.key))
        ),
    )


def _dictionary() -> Iterator[str]:
    from lafid_assets.schemas import TABLES
    from lafid_assets.steps.step_registry import all_steps

    writers: dict[str, list[str]] = {}
    readers: dict[str, list[str]] = {}
    for asset, (step, _) in all_steps().items():
        for table in step.writes:
            writers.setdefault(table.name, []).append(asset)
        for name in step.reads:
            readers.setdefault(name, []).append(asset)
    for table in TABLES:
        yield f"\n## {table.name}\n\n{_plain(table.doc)}\n"
        if table.view is not None:
            yield "- A view: it shows other tables and holds nothing of its own."
        else:
            named = " and ".join(f"the asset `{asset}`" for asset in writers.get(table.name, ()))
            by = named or WRITTEN_BESIDE_STEPS[table.name]  # a KeyError here: a new table that no step writes needs its line
            how = "rows are only added" if table.appended else "a shard at a time" if table.partitioned else "as a whole"
            yield f"- Written by {by}, {how}."
        if table.name in readers:
            yield f"- Read by {', '.join(f'`{asset}`' for asset in readers[table.name])}."
        yield f"- Key: {', '.join(f'`{name}`' for name in table.key)}.\n"
        yield from _table(
            ["column", "type", "unit", "meaning"],
            ([f"`{column.name}`", _type(column), _unit(column.name), _meaning(column)] for column in table.columns),
        )


def _type(column: Any) -> str:
    text = re.sub(r"Struct\(.*", "Struct", str(column.dtype))
    return f"`{text}{' or NULL' if column.nullable else ''}`"


def _unit(name: str) -> str:
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def _meaning(column: Any) -> str:
    ends = (("at least", column.minimum), ("at most", column.maximum))
    bounds = [f"{words} {figure:g}" for words, figure in ends if figure is not None]
    one_of = f"One of: {', '.join(f'`{value}`' for value in column.one_of)}" if 0 < len(column.one_of) <= 12 else ""
    if len(column.one_of) > 12:
        one_of = "One of [the reasons](curation.md#reasons)"
    return ". ".join(part for part in (_plain(column.doc).rstrip("."), ", ".join(bounds).capitalize(), one_of) if part)


def _settings() -> Iterator[str]:
    from lafid_assets.lafid_toml.settings_check import template

    for part in re.split(r"^\[", template(), flags=re.MULTILINE)[1:]:
        section = part[: part.index("]")]
        model, about = _section(section)
        defaults = dict(re.findall(r"^# (\w+) = (.*)$", part, re.MULTILINE))
        yield f"\n## {section}\n\n{about}\n"
        fields = {name: (field, defaults[name]) for name, field in model.model_fields.items() if name in defaults}
        yield from _table(["line", "default", "may be", "meaning"], _lines(fields))


def _section(name: str) -> tuple[type[BaseModel], str]:
    """What a section's lines are fields of, and what it is about."""
    from lafid_assets.lafid_toml.settings_file import POLICY, POLICY_ASSET, SHARED, General
    from lafid_assets.steps.step_registry import all_steps

    if name in General.model_fields:
        model = General.model_fields[name].annotation
        return model, " ".join((model.__doc__ or "").split())
    assets = SHARED.get(name, (name,))
    about = f"Of the asset{'s' * (len(assets) > 1)} {' and '.join(f'`{asset}`' for asset in assets)}."
    if name == POLICY_ASSET:
        about += f' `{POLICY} = "cofe"` names a shipped policy or a TOML file beside `lafid.toml`; the other lines change it.'
    return all_steps()[assets[0]][1], about


def _lines(fields: dict[str, tuple[FieldInfo, str]]) -> Iterator[list[str]]:
    for name, (field, default) in fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            inner = {
                f"{name}.{one}": (info, repr(info.get_default(call_default_factory=True)))
                for one, info in group.model_fields.items()
            }
            yield from _lines(inner)
        else:
            yield [f"`{name}`", f"`{default}`", _may_be(field), _plain((field.description or "").rstrip("."))]


def _may_be(field: FieldInfo) -> str:
    named = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "multiple_of": "a multiple of"}
    bounds = [
        f"{words} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, words in named.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([_named_type(field.annotation), *bounds])


def _named_type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join("nothing" if one is type(None) else _named_type(one) for one in get_args(annotation))
    if get_origin(annotation) is dict:
        return "a table, `{ name = value }`"
    if get_origin(annotation) in (list, tuple):
        return "a list"
    words = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "`true` or `false`",
        dict: "a table, `{ name = value }`",
    }
    return words.get(annotation, f"`{getattr(annotation, '__name__', annotation)}`")


def _table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _plain(text: str) -> str:
    """Text whose angle brackets are no HTML, outside of code."""
    parts = text.split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


os.environ.setdefault("LAFID_HOME", str(Path(tempfile.gettempdir()) / "lafid docs have no home"))
