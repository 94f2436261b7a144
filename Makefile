# make demo | test | browser | trial | soak | ui | docs: everything else follows from these. Needs python3 (3.11 to 3.13), make and the
# package registries.
# CUDA=1 beside any of them installs the CUDA build of onnxruntime in place of the CPU one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Both builds of onnxruntime install over the same folder: the other's is taken out before this one's comes in.
ifdef CUDA
LOCK := locks/cuda.txt
STAMP := $(VENV)/.installed-cuda
OTHER_STAMP := $(VENV)/.installed
OTHER_ONNXRUNTIME := onnxruntime
else
LOCK := locks/all.txt
STAMP := $(VENV)/.installed
OTHER_STAMP := $(VENV)/.installed-cuda
OTHER_ONNXRUNTIME := onnxruntime-gpu
endif
# A company's TLS proxy is known to the system's certificates: uv and pip are told to use them.
export UV_SYSTEM_CERTS := true
SYSTEM_CERTS := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
ifneq ($(SYSTEM_CERTS),)
export PIP_CERT ?= $(SYSTEM_CERTS)
endif

.PHONY: demo test browser trial soak cluster-test ui docs lint lock clean

demo: $(STAMP)
	@$(BIN)/lafid demo

# worksteal: the tests of a worker that dies are done by another one. With loadfile they are done by none, and the run never ends.
test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal -m "not ui and not cluster"

# What the data team does in the UI, in Chromium; PICTURES=folder keeps the docs' pictures. One home and one server for all tests.
browser: $(STAMP)
	@OMP_NUM_THREADS=1 LAFID_PICTURES="$(PICTURES)" $(BIN)/python -m pytest -m ui tests/ui

# A cluster in namespaces of which one node is killed and one freezes. It takes two minutes, with the machine to itself.
trial: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/cluster

# The tests that find more the longer they run, and those that take minutes.
soak: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "soak or long" --soak -o faulthandler_timeout=7260

# A cluster whose machines die, freeze and are cut off, at length: Postgres, S3, Ray and Dagster in namespaces. Ends with a table.
cluster-test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long --soak tests/cluster

ui: $(STAMP)
	@$(BIN)/lafid ui

# Every broken link and anchor is an error. Nothing is fetched, and the site asks nobody for anything.
docs: $(STAMP)
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs docs/_build
	@echo "docs/_build/index.html"

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# uv is installed by pip from its own lock, then installs everything else by the hashes of the big one.
$(STAMP): locks/bootstrap.txt $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else f"LaFID needs Python 3.11 to 3.13, and $(PYTHON) is {sys.version.split()[0]}: run make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/bootstrap.txt
	@echo "installing the environment (about 7 GB, half a minute on a fast line)"
	@test ! -e $(OTHER_STAMP) || $(BIN)/uv pip uninstall --quiet --python $(BIN)/python $(OTHER_ONNXRUNTIME)
	@rm -f $(OTHER_STAMP)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(STAMP)

lock: $(STAMP)
	@$(BIN)/uv pip compile locks/bootstrap.in $(COMPILE) -o locks/bootstrap.txt
	@$(BIN)/uv pip compile pyproject.toml --extra all --extra dev $(COMPILE) -o locks/all.txt
	@$(BIN)/uv pip compile pyproject.toml locks/cuda.in --extra all --extra dev --override locks/cuda-overrides.txt \
		--constraint locks/all.txt $(COMPILE) -o locks/cuda.txt

COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

clean:
	rm -rf $(VENV) .lafid docs/_build
