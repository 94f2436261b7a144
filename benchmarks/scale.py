"""What a step, a refresh and a question cost as the dataset grows: `python -m benchmarks.scale [--shards 10 100 1000] [--json]`.

Shards of 500 generated clips (`scale_rows`) are laid through the project's own code; no video is decoded. At every size each
operation of `scale_operations` runs in a process of its own on the same lake. CPU seconds and megabytes written are the
operation's, peak memory is the process's. The exponent lies between the last two sizes; from it follows the projection to
26,400 shards, all of OpenHumanVid.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.scale_operations import OPERATIONS, Cost
from resources.lake.upkeep import EVERY

ALL_SHARDS = 26_400


def measure(operation: str, home: Path, shards: int) -> Cost:
    """Run one operation in a process of its own, on a lake of so many shards."""
    command = [sys.executable, "-m", "benchmarks.scale_operations", operation, str(home), str(shards)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{operation} at {shards} shards failed:\n{done.stderr}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """By which power a cost grows with the number of shards, between the last two sizes."""
    (small, large), (less, more) = sizes[-2:], values[-2:]
    return math.log(max(more, 1e-9) / max(less, 1e-9)) / math.log(large / small)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[10, 100, 1000], help="two sizes or more, growing")
    parser.add_argument("--json", action="store_true", help="print one object last")
    arguments = parser.parse_args()
    sizes: list[int] = arguments.shards
    costs: dict[str, list[Cost]] = {name: [] for name in OPERATIONS}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="lafid-scale-") as folder:
            for name, found in costs.items():
                found.append(measure(name, Path(folder) / "home", size))
                print(f"{size} shards, {name}: {found[-1]}", file=sys.stderr, flush=True)
    _show(sizes, costs)
    if arguments.json:
        print(json.dumps(_summary(sizes, costs)))


def _show(sizes: Sequence[int], costs: dict[str, list[Cost]]) -> None:
    table = Table("operation", *(f"N={size}" for size in sizes), "exponent", f"CPU s at {ALL_SHARDS:,}")
    for name, found in costs.items():
        power = exponent(sizes, [cost.cpu_s for cost in found])
        projected = found[-1].cpu_s * (ALL_SHARDS / sizes[-1]) ** power
        table.add_row(name, *map(str, found), f"{power:.2f}", f"{projected:,.3g}")
    Console(width=180).print(table)
    for name, operation in OPERATIONS.items():
        print(f"{name}: {operation.__doc__}")


def _summary(sizes: Sequence[int], costs: dict[str, list[Cost]]) -> dict[str, float]:
    last = {name: found[-1] for name, found in costs.items()}
    put_s = [put.cpu_s + compaction.cpu_s / EVERY for put, compaction in zip(costs["put"], costs["compact"], strict=True)]
    return {
        "put_cpu_s": put_s[-1],
        "put_exponent": exponent(sizes, put_s),
        "uptodate_cpu_s_per_shard": last["uptodate"].cpu_s / sizes[-1],
        "uptodate_mb_written": last["uptodate"].mb_written,
        "refresh_one_new_ratio": last["refresh"].cpu_s / costs["refresh"][-2].cpu_s,
        "dataset_rss_gb": last["dataset"].peak_gb,
        "register_exponent": exponent(sizes, [cost.cpu_s for cost in costs["register"]]),
        "forget_s": last["forget"].seconds,
        "query_count_s": last["query_count"].seconds,
    }


if __name__ == "__main__":
    main()
