"""The commands of README and site that the tests of this folder do not run: which test does, or why none can.

A key is the beginning of a command; the longest that fits counts.
"""

WEIGHTS = "it needs weights that are fetched from the network"
GPU = "it needs a GPU"
CLUSTER = "it needs several machines"
SERVERS = "it starts, asks or ends servers; tests/cluster brings up the same ones"
MINUTES = "it takes minutes or hours: a person runs it"

TESTED_BY = {
    "make demo": "tests/e2e/test_demo.py::test_funnel_sums_and_agrees_with_the_footage",
    "make docs": "tests/docs/test_site.py",
    "make ui": "tests/lafid_assets/cli/test_ui.py",
    "lafid ui": "tests/lafid_assets/cli/test_ui.py",
    "lafid calibrate --measure": "tests/lafid_assets/cli/test_calibrate.py",
    "lafid rebuild": "tests/docs/test_commands.py::test_a_lost_catalog_is_made_anew",
    "lafid curate": "tests/lafid_assets/cli/test_curate.py",
    "lafid generate": "tests/lafid_assets/cli/test_generate.py",
    "lafid inspect": "tests/lafid_assets/cli/test_generate.py",
    "lafid pull": "tests/lafid_assets/cli/test_pull.py",
    "lafid serve": "tests/lafid_assets/cli/test_serve.py",
    "lafid evaluate": "tests/lafid_assets/cli/test_evaluate.py",
    "lafid opens2v": "tests/lafid_assets/cli/test_opens2v.py",
    "lafid models push": "tests/lafid_assets/cli/test_models.py",
    "lafid promote": "tests/lafid_assets/cli/test_promote.py",
    "lafid rollback": "tests/lafid_assets/cli/test_promote.py",
    "lafid review": "tests/ui/test_review.py",
    "lafid presets": "tests/lafid_assets/cli/test_presets.py",
    "lafid adopt": "tests/lafid_assets/cli/test_adopt.py",
    "lafid precompute": "tests/lafid_assets/cli/test_precompute.py",
}
"""Beginning of a command to the test, or the file of tests, that runs it."""

NOT_RUN = {
    "make test": "it is the tests",
    "make trial": MINUTES,
    "make cluster-test": MINUTES,
    "make lint": "`.ci/run` runs it beside the tests",
    "make browser": "`.ci/run` runs it beside the tests",
    "make soak": MINUTES,
    "make CUDA=1": GPU,
    "pip install .": "it installs 7 GB from the network; tests/model/release runs what it brings",
    "lafid models fetch": WEIGHTS,
    "hf download": WEIGHTS,
    "torchrun --standalone": GPU,
    "torchrun --nnodes": CLUSTER,
    "dagster asset materialize": "it trains for minutes; its config is checked here, tests/lafid_assets/training runs the asset",
    "dagster instance concurrency": GPU,
    "python -m benchmarks": MINUTES,
    "mkdir": "it makes a folder for those servers",
    "rm -r": "it removes that folder",
    "initdb": SERVERS,
    "pg_ctl": SERVERS,
    "createdb": SERVERS,
    "moto_server": SERVERS,
    "mlflow server --port": SERVERS,
    "ray": SERVERS,
    "kill": SERVERS,
    "python -c": "it asks such a server, or makes the demo's footage",
    "export": "it sets the shell's environment",
    "echo": "it writes a file of the launcher's",
}
"""Beginning of a command to the reason why no test runs it."""

OTHERS_OPTIONS = frozenset(
    {
        "--address",
        "--local-dir",
        "--num-cpus",
        "--env-manager",
        "--timeout",
        "--workers",
        "--soak",
        "--shutdown-timeout",
        "--loose",
        "--quick",
    }
)
"""Options in sentences that are those of other programs (MLflow, hf, torchrun, our benchmarks)."""
