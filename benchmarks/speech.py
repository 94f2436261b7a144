"""Who speaks in the labelled test clips: the decisions against the labels of ../shared, and what they cost.

    python benchmarks/speech.py [--engine dlib|insightface|auto] [--json]

insightface takes its models from the model store (`LAFID_MODELS`, `lafid models list`).

The labels (last table of SOURCES.md there) judge and never fit: no threshold was chosen by looking at these clips.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from lafid_assets.speech.measures import measure_speech
from lafid_assets.speech.speaking_status import SpeakingStatus, decide
from model.face_engine.interface import FaceEngine
from resources.face_engine import ENGINES, engine_reason, load_face_engine

TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"
LEAST_RIGHT_SHARE = 0.90
MOST_UNDECIDABLE_SHARE = 0.20


def read_labels(sources: Path, clips: list[Path]) -> dict[Path, frozenset[SpeakingStatus]]:
    """Clip to the statuses that are right for it, from the table with the heading `| speech | clips |`."""
    table = sources.read_text().split("| speech | clips |", 1)[1]
    labels: dict[Path, frozenset[SpeakingStatus]] = {}
    for statuses, listed in re.findall(r"^\| ([a-z].*?) \| (.*) \|$", table, re.MULTILINE):
        allowed = frozenset(SpeakingStatus(name) for name in re.sub(r"\(.*?\)", "", statuses).strip().split(" or "))
        for clip in clips:
            by_kind = clip.suffix == ".gif" and "the gifs" in listed
            if by_kind or re.search(rf"(?<![\w-]){re.escape(clip.stem)}(?![\w-])", listed):
                labels[clip] = allowed
    return labels


def judge(clip: Path, allowed: frozenset[SpeakingStatus], engine: FaceEngine) -> dict[str, Any]:
    """Measure and decide one clip."""
    started_s, cpu_started_s = time.perf_counter(), time.process_time()
    row = measure_speech(clip, engine).as_row()
    decision = decide(row)
    return {
        "clip": clip.name,
        "label": " or ".join(sorted(allowed)),
        "status": decision.status,
        "reason": decision.reason,
        "right": decision.status in allowed,
        "wall_s": time.perf_counter() - started_s,
        "cpu_s": time.process_time() - cpu_started_s,
    } | {name: row[name] for name in MEASURES}


MEASURES = (
    "voice_share",
    "mouth_range",
    "mouth_measurable_share",
    "mouth_yaw_abs_median_deg",
    "several_faces_share",
    "lip_audio_correlation",
    "lip_audio_offset_s",
)


def summarise(judged: list[dict[str, Any]]) -> dict[str, Any]:
    """The three bars, the confusion table and the cost."""
    decided = [row for row in judged if row["status"] != SpeakingStatus.UNDECIDABLE]
    # Labelled with one status and voiced: the clips of one person at a time, all within 30 degrees of the frontal view.
    voiced = [row for row in judged if row["label"] in (SpeakingStatus.ON_SCREEN, SpeakingStatus.OFF_SCREEN)]
    undecidable = [row for row in voiced if row["status"] == SpeakingStatus.UNDECIDABLE]
    voiced_decided = [row for row in voiced if row["status"] != SpeakingStatus.UNDECIDABLE]
    looked = [row for row in judged if row["status"] != SpeakingStatus.NO_AUDIO]
    return {
        "clips": len(judged),
        "decided": len(decided),
        "right_share": sum(row["right"] for row in decided) / len(decided),
        "voiced_decided": len(voiced_decided),
        "voiced_right_share": sum(row["right"] for row in voiced_decided) / max(1, len(voiced_decided)),
        "undecidable_share": len(undecidable) / len(voiced),
        "derived_wrong": [row["clip"] for row in judged if row["clip"].startswith("derived_") and not row["right"]],
        "cpu_s_per_clip_with_audio": sum(row["cpu_s"] for row in looked) / len(looked),
        "cpu_s_most": max(row["cpu_s"] for row in judged),
        "confusion": [[*pair, count] for pair, count in sorted(Counter((r["label"], r["status"]) for r in judged).items())],
    }


def show(judged: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Both tables as text."""
    for row in judged:
        numbers = "  ".join("    -" if row[name] is None else f"{row[name]:5.2f}" for name in MEASURES)
        mark = " " if row["right"] else "x"
        print(f"{mark} {row['clip']:45} {row['status']:12} {row['reason']:22} {numbers}  {row['cpu_s']:5.1f} s")
    print("  (columns: " + ", ".join(MEASURES) + ", CPU seconds)\n")
    print(f"engine: {summary['engine']} ({summary['engine_reason']})\n")
    statuses = list(SpeakingStatus)
    print(f"{'label':26}" + "".join(f"{status:>13}" for status in statuses))
    for label in sorted({row["label"] for row in judged}):
        counts = Counter(row["status"] for row in judged if row["label"] == label)
        print(f"{label:26}" + "".join(f"{counts[status]:>13}" for status in statuses))
    print(
        f"\nright among the decided   {summary['right_share']:.0%} of {summary['decided']}  (bar: {LEAST_RIGHT_SHARE:.0%})"
        f"\n  on or off screen only   {summary['voiced_right_share']:.0%} of {summary['voiced_decided']}"
        f"\nundecidable               {summary['undecidable_share']:.0%}  (bar: at most {MOST_UNDECIDABLE_SHARE:.0%})"
        f"\nderived clips wrong       {len(summary['derived_wrong'])}  (bar: 0)"
        f"\nCPU seconds a clip        {summary['cpu_s_per_clip_with_audio']:.1f} where there is sound"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, default="dlib", help="face engine that looks at the lips (dlib)")
    parser.add_argument("--json", action="store_true", help="print one object instead of tables")
    arguments = parser.parse_args()
    if not TESTDATA.is_dir():
        print("The labelled clips (../shared/testdata beside the checkout) are absent: nothing to judge.", file=sys.stderr)
        return 1
    labels = read_labels(TESTDATA / "SOURCES.md", sorted((TESTDATA / "clips").iterdir()))
    engine = load_face_engine(arguments.engine)
    judged = [judge(clip, allowed, engine) for clip, allowed in labels.items()]
    judged.sort(key=lambda row: (row["label"], row["clip"]))
    summary = {"engine": engine.info.name, "engine_reason": engine_reason(arguments.engine)} | summarise(judged)
    if arguments.json:
        print(json.dumps(summary | {"rows": judged}, indent=1))
    else:
        show(judged, summary)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
