"""What face analysis costs: a careful user's script against ours, in one run: `python -m benchmarks.face_info [--json]`.

CPU seconds (user plus system, models loaded) a clip of (a) the script, with library defaults and with one thread everywhere,
(b) ours with the scan off, (c) ours with the scan on, and the ceiling: the networks alone plus one decode. Every variant runs
in a child process of its own whose usage is read; the variants take turns; the least of the rounds counts. The clips are
`benchmarks.face_mix`. Exit code 1 where a bar is missed, 2 without ../shared.

No clip is cut into its shots, whose faces nobody would compare: the script knows of no cuts.

6DRepNet runs with random weights of the real architecture, since the real ones cannot be had here: what it costs, and whether
both ways give the same numbers, shows all the same. Which clips the policy keeps is decided with FSA-Net's angles.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.face_mix import MixClip, build_mix, plan_mix, stratified

ROOT = Path(__file__).resolve().parents[1]
TESTDATA = ROOT.parent / "shared" / "testdata"
CACHE = Path(os.environ.get("LAFID_BENCHMARK_CACHE") or Path(tempfile.gettempdir()) / "lafid-face-benchmark")
DETECTOR, EMBEDDER, HEAD_POSE = "scrfd_2.5g", "arcface_mobilefacenet_foamliu", "6drepnet"
UNCUT = {"split_hard_score": 1e6, "split_gradual_score": 1e6}
OURS = {"engine": "insightface", "detector": DETECTOR, "embedder": EMBEDDER, "mouth": "none", "rate_hz": 2.0} | UNCUT
SCRIPT_DEFAULTS, SCRIPT_ONE_THREAD, SCAN_OFF, SCAN_ON, CEILING = (
    *("script, library defaults", "script, one thread", "ours, scan off", "ours, scan on", "ceiling"),
)
BARS = {"ratio_scan_off": 1.7, "ceiling_share": 0.9, "ratio_scan_on": 10.0}
MOST = {"max_angle_diff_deg": 0.5, "max_cosine_diff": 0.001}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass
class Measured:
    """One variant: CPU seconds by clip, the least round; what it found; and what its whole child used, by round."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    rounds: list[float] = field(default_factory=list)


class Bench:
    """The mix, the models and the children."""

    def __init__(self, cache: Path, clips: list[MixClip], files: Mapping[str, Path]) -> None:
        self.cache, self.clips, self.files = cache, clips, files
        self.measured: dict[str, Measured] = {}

    def run(self, variant: str, command: list[str], task: dict[str, Any], *, one_thread: bool) -> None:
        """One round of one variant; kept where it is the variant's cheapest."""
        with tempfile.TemporaryDirectory() as folder:
            out, task_file = Path(folder) / "out.json", Path(folder) / "task.json"
            task_file.write_text(
                json.dumps(task | {"clips": {clip.name: str(self.files[clip.name]) for clip in self.clips}, "out": str(out)})
            )
            used_s = self._child([*command, str(task_file)], one_thread=one_thread)
            result = json.loads(out.read_text())
        cpu_s = {name: clip["cpu_s"] for name, clip in result["clips"].items()}
        spent = sum(cpu_s.values())
        if abs(used_s - result["load_cpu_s"] - spent) > 0.05 * spent + 1.0:
            raise RuntimeError(
                f"{variant}: the child used {used_s:.1f} s, of which it accounts for {result['load_cpu_s'] + spent:.1f}"
            )
        measured = self.measured.setdefault(variant, Measured())
        measured.rounds.append(_per_clip(cpu_s))
        if measured.rounds[-1] == min(measured.rounds):
            measured.cpu_s, measured.found = cpu_s, result["clips"]

    def _child(self, command: list[str], *, one_thread: bool) -> float:
        """Run a child; the CPU seconds that the system counted for it."""
        environment = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
        environment |= {"LAFID_MODELS": str(self.cache / "models")} | (ONE_THREAD if one_thread else {})
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            if child.returncode != 0:
                raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {errors.read().decode()[-2000:]}")
        return usage.ru_utime + usage.ru_stime

    def per_clip(self, variant: str) -> float:
        """CPU seconds a clip of the mix, the least round."""
        return min(self.measured[variant].rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the least counts")
    parser.add_argument("--clips", type=int, default=100, help="so many of the 100, evenly out of every category")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where mix and models lie; default $LAFID_BENCHMARK_CACHE")
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    clips = plan_mix() if arguments.clips >= len(plan_mix()) else stratified(plan_mix(), arguments.clips)
    try:
        bench = Bench(arguments.cache, clips, build_mix(arguments.cache / "mix", TESTDATA / "clips", clips))
        build_models(arguments.cache)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        run_round(bench)
    summary = summarise(bench)
    show(bench, summary)
    if arguments.json:
        print(json.dumps(summary))
    return 1 if missed_bars(summary) else 0


def build_models(cache: Path) -> None:
    """A model store with the small real weights and a 6DRepNet of random ones; the script's pack and checkpoint beside it."""
    from model.model_store.install import install
    from model.model_store.registry import find_entry
    from model.model_store.store import ModelStore

    weights, pack, checkpoint = TESTDATA / "weights", cache / "pack", cache / "6drepnet-random.pth"
    sources = {
        DETECTOR: [weights / "scrfd_2.5g_bnkps.onnx"],
        EMBEDDER: [weights / "arcface_mobilefacenet_foamliu.onnx"],
        "fsanet": sorted(weights.glob("fsanet-*.onnx")),
        HEAD_POSE: [checkpoint],
    }
    pack.mkdir(parents=True, exist_ok=True)
    for name in (DETECTOR, EMBEDDER):
        link = pack / sources[name][0].name
        if not link.is_symlink():
            link.symlink_to(sources[name][0])
    if not checkpoint.is_file():
        _write_random_weights(checkpoint)
    store = ModelStore(cache / "models")
    for name, files in sources.items():
        store.accept(find_entry(name).licence)
        if not store.present(name):
            install(store, name, files)


def _write_random_weights(path: Path) -> None:
    """A 6DRepNet whose activations keep their size from layer to layer, so that its answer depends on what it sees."""
    import torch

    from model.face_engine.head_pose.sixdrepnet_network import build_network
    from model.files import whole_file

    torch.manual_seed(0)
    network = build_network()
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    with whole_file(path) as temporary:
        torch.save(network.state_dict(), temporary)


def run_round(bench: Bench) -> None:
    """Every variant once."""
    store = bench.cache / "models"
    script = {"pack": str(bench.cache / "pack"), "head_pose": str(bench.cache / "6drepnet-random.pth")}
    script_command = [sys.executable, str(ROOT / "benchmarks" / "face_script.py")]
    ours_command = [sys.executable, "-m", "benchmarks.face_ours", "analyse"]
    bench.run(SCRIPT_DEFAULTS, script_command, script | {"one_thread": False}, one_thread=False)
    off = {"settings": OURS | {"head_pose": HEAD_POSE, "scan": False}}
    bench.run(SCAN_OFF, ours_command, off, one_thread=True)
    bench.run(SCRIPT_ONE_THREAD, script_command, script | {"one_thread": True}, one_thread=True)
    on = {"settings": OURS | {"head_pose": HEAD_POSE, "scan": True}}
    bench.run(SCAN_ON, ours_command, on, one_thread=True)
    ceiling = {"counts": _counts(bench.measured[SCRIPT_ONE_THREAD].found), "networks": _networks(store)}
    command = [sys.executable, "-m", "benchmarks.face_ours", "ceiling"]
    bench.run(CEILING, command, ceiling, one_thread=True)


def _networks(store: Path) -> dict[str, str]:
    from model.model_store.registry import Kind
    from model.model_store.store import ModelStore

    parts = {"detector": (DETECTOR, Kind.SCRFD), "embedder": (EMBEDDER, Kind.ARCFACE), "head_pose": (HEAD_POSE, Kind.SIXDREPNET)}
    return {part: str(ModelStore(store).require(name).networks(kind)[0][0]) for part, (name, kind) in parts.items()}


def _counts(found: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How often each network has to run on a clip: the detector once a frame, and again where nothing was found."""
    return {
        name: {
            "looks": sum(1 + frame["again"] for frame in clip["frames"]),
            "faces": sum(len(frame["faces"]) for frame in clip["frames"]),
            "last_frame": clip["frames"][-1]["frame_index"],
        }
        for name, clip in found.items()
    }


def _per_clip(cpu_s: Mapping[str, float]) -> float:
    """Mean over the mix: that of every category, weighted by its share of the whole mix, for which a subset stands."""
    shares = Counter(clip.category for clip in plan_mix())
    of_category = defaultdict(list)
    for clip in plan_mix():
        if clip.name in cpu_s:
            of_category[clip.category].append(cpu_s[clip.name])
    return sum(shares[name] * sum(spent) / len(spent) for name, spent in of_category.items()) / shares.total()


def summarise(bench: Bench) -> dict[str, Any]:
    """The figures of the bars, and the numbers that both ways gave."""
    script, off, on = (bench.measured[variant].found for variant in (SCRIPT_ONE_THREAD, SCAN_OFF, SCAN_ON))
    decode = {name: clip["decode_cpu_s"] for name, clip in bench.measured[CEILING].found.items()}
    angle, cosine, faces = _differences(script, off)
    kept_off, kept_on, audited = _kept(bench, on)
    return {
        "ratio_scan_off": bench.per_clip(SCRIPT_DEFAULTS) / bench.per_clip(SCAN_OFF),
        "ratio_scan_off_one_thread": bench.per_clip(SCRIPT_ONE_THREAD) / bench.per_clip(SCAN_OFF),
        "ratio_scan_on": bench.per_clip(SCRIPT_DEFAULTS) / bench.per_clip(SCAN_ON),
        "ceiling_share": bench.per_clip(CEILING) / bench.per_clip(SCAN_OFF),
        "same_kept": kept_off == kept_on,
        "max_angle_diff_deg": angle,
        "max_cosine_diff": cosine,
        "cpu_s_per_raw_clip": bench.per_clip(SCAN_ON),
        "cpu_s_per_decode": _per_clip(decode),
        "faces_compared": faces,
        "same_rows": all(off[name]["faces"] == on[name]["faces"] for name in off if on[name]["tier"] == "survey"),
        "kept": sorted(kept_off),
        "audited": audited,
        "surveyed": sum(clip["tier"] == "survey" for clip in on.values()),
        "clips": len(bench.clips),
        "rounds": len(bench.measured[SCAN_ON].rounds),
        "head_pose_weights": "random",
    }


def _differences(script: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[float, float, int]:
    """Largest difference of any angle (degrees, on the circle) and of any cosine to 1, and the faces compared.

    Raises:
        RuntimeError: the two ways see different faces.
    """
    angles, cosines = [], []
    for name, clip in script.items():
        rows = {(row["frame_index"], row["face_index"]): row for row in ours[name]["faces"]}
        theirs = {
            (frame["frame_index"], index): face
            for frame in clip["frames"]
            for index, face in enumerate(sorted(frame["faces"], key=lambda face: -_area(face["box"])))
        }
        if rows.keys() != theirs.keys():
            raise RuntimeError(f"{name}: the script and ours see different faces: {sorted(rows.keys() ^ theirs.keys())[:5]}")
        for key, face in theirs.items():
            own = rows[key]
            turned = np.subtract(face["angles"], [own["yaw_deg"], own["pitch_deg"], own["roll_deg"]])
            angles.append(float(np.abs((turned + 180) % 360 - 180).max()))
            cosines.append(1 - float(np.dot(face["embedding"], own["embedding"])))
    return max(angles, default=0.0), max(cosines, default=0.0), len(angles)


def _area(box: list[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _kept(bench: Bench, on: Mapping[str, Any]) -> tuple[set[str], set[str], int]:
    """Names that the policy keeps of all clips, and of those that the scan passed on; and how many were audited."""
    from lafid_assets.constraints.decision import decide_clips
    from lafid_assets.constraints.policies import FacePolicy
    from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, PICTURE_MEASURES

    judges = Bench(bench.cache, bench.clips, bench.files)
    settings = {"settings": OURS | {"head_pose": "fsanet", "scan": False}}
    judges.run("judge", [sys.executable, "-m", "benchmarks.face_ours", "analyse"], settings, one_thread=True)
    found = judges.measured["judge"].found

    def table(schema: Any, rows: list[dict[str, Any]]) -> pl.DataFrame:
        known = {"shard": "mix", "status": "ok", "audited": False, "engine": "", "engine_version": "", "engine_licence": ""}
        known |= {"engine_reason": "", "fingerprint": "", "attempts": 1, "path": "", "clip_root": "", "source": "", "licence": ""}
        return schema.frame({name: (known | row).get(name) for name in schema.dtypes} for row in rows)

    ids = [{"clip_id": name} for name in found]
    decided = decide_clips(
        table(PICTURE_MEASURES, ids),
        table(FACE_CLIPS, ids),
        table(FACE_INFO, [face for clip in found.values() for face in clip["faces"]]),
        table(FACE_FRAMES, [frame for clip in found.values() for frame in clip["frames"]]),
        FacePolicy(),
    )
    kept = set(decided.filter("keep")["clip_id"])
    # An audited clip has been surveyed, but only because the dice said so: the scan had dropped it.
    passed_on = {name for name, clip in on.items() if clip["verdict"] is None}
    return kept, kept & passed_on, sum(clip["audited"] for clip in on.values())


def missed_bars(summary: Mapping[str, Any]) -> list[str]:
    """Names of the bars that are not met."""
    missed = [name for name, bar in BARS.items() if not summary[name] >= bar]
    missed += [name for name, most in MOST.items() if not summary[name] <= most]
    return missed + [name for name in ("same_kept", "same_rows") if not summary[name]]


def show(bench: Bench, summary: Mapping[str, Any]) -> None:
    """The table, on standard output."""
    categories = list(dict.fromkeys(clip.category for clip in bench.clips))
    print(f"CPU seconds a clip, least of {summary['rounds']} rounds, {len(bench.clips)} clips weighted by the mix's shares")
    print(f"{'':28}{'mix':>8}" + "".join(f"{category:>10}" for category in categories))
    for variant in (SCRIPT_DEFAULTS, SCRIPT_ONE_THREAD, SCAN_OFF, SCAN_ON, CEILING):
        cpu_s = bench.measured[variant].cpu_s
        means = []
        for category in categories:
            own = [cpu_s[clip.name] for clip in bench.clips if clip.category == category and clip.name in cpu_s]
            means.append(sum(own) / len(own))
        print(f"{variant:28}{bench.per_clip(variant):8.3f}" + "".join(f"{mean:10.3f}" for mean in means))
    on = bench.measured[SCAN_ON].found
    for category in categories:
        verdicts = [str(on[clip.name]["verdict"] or "surveyed") for clip in bench.clips if clip.category == category]
        print(f"  {category}: " + ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in sorted(set(verdicts))))
    print("6DRepNet: random weights of the real architecture; kept clips are decided with FSA-Net's angles")
    for name, value in summary.items():
        bar = f"   bar {BARS[name]:g}" if name in BARS else f"   at most {MOST[name]:g}" if name in MOST else ""
        print(f"{name:28}{value:10.4f}{bar}" if isinstance(value, float) else f"{name:28}{value!s:>10}{bar}")
    missed = missed_bars(summary)
    print("all bars met" if not missed else f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    sys.exit(main())
