"""`lafid doctor`: what this node lacks, one line each with the remedy. Makes nothing, not even a home.

Belongs here: the order of the checks, and showing what they find. Not here: a check (`lafid_assets.doctor`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lafid_assets.cli.display import CONSOLE
from lafid_assets.doctor import machine, servers
from lafid_assets.doctor.findings import Check, Node, State, asked
from resources.settings import PROJECT_ROOT, Settings
from resources.software import Software, place

CHECKS: tuple[tuple[str, Check], ...] = (
    ("software", machine.software),
    ("packages", machine.installed),
    ("settings", machine.settings),
    ("models", machine.models),
    ("home", machine.home),
    ("launch file", machine.launch),
    ("gpu", machine.gpu),
    ("store", servers.store),
    ("catalog", servers.catalog),
    ("records", servers.records),
    ("cluster", servers.cluster),
    ("same software", servers.same_software),
    ("clock", servers.clock),
    ("webserver", servers.webserver),
    ("ray", servers.ray),
    ("mlflow", servers.mlflow),
)
STYLES = {State.OK: "green", State.WARNS: "yellow", State.BLOCKS: "red"}


def read_doctor(settings: Settings) -> dict[str, Any]:
    """One object: whether this node is `fit`, its `software` and `place`, and `findings` of `about`, `state` and `said`."""
    findings = [{"about": each.about, "state": each.state.value, "said": each.said} for each in asked(_node(settings), CHECKS)]
    fit = all(each["state"] != State.BLOCKS for each in findings)
    return {"fit": fit, "software": str(Software.here()), "place": place(), "findings": findings}


def show_doctor(found: Mapping[str, Any]) -> None:
    """Show a line for each check, and whether this node can work."""
    for each in found["findings"]:
        CONSOLE.print(f"{each['state']:7}", style=STYLES[State(each["state"])], end="")
        CONSOLE.print(f"{each['about'] + ':':15} {each['said']}")
    CONSOLE.print("this node can work" if found["fit"] else "this node cannot work: mend what blocks")


def _node(settings: Settings) -> Node:
    """What Dagster's instance is told, from the file that the next command would install in the home."""
    source = Path(os.environ.get("LAFID_DAGSTER_YAML") or PROJECT_ROOT / "dagster.yaml")
    if not source.is_file():
        raise FileNotFoundError(f"there is no {source}: set LAFID_DAGSTER_YAML to a dagster.yaml")
    told = yaml.safe_load(source.read_text(encoding="utf-8"))
    url = told.get("storage", {}).get("postgres", {}).get("postgres_url")
    if isinstance(url, dict):
        if (named := os.environ.get(url["env"])) is None:
            raise ValueError(
                f"{source} keeps Dagster's records where {url['env']} says, which is not set: set it to "
                "postgresql+psycopg2://user@host/database"
            )
        url = named
    return Node(settings, url, "run_launcher" in told)
