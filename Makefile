# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .peers

DEMO_MODELS := cnn,lenet5,lenet5_1998,nin_cifar10,resnet20_cifar10
DEMO_OUTPUT ?= demo

.PHONY: demo test test-slow parity runtimes lint format bench docs clean

# torch first and alone: a later install then finds it there and does not look for another build.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch numpy
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.ready ## compare five architectures on real handwritten digits
	$(BIN)/corinth compare --data digits --models $(DEMO_MODELS) --budget 30ep --seeds 3 --output $(DEMO_OUTPUT)

test: $(VENV)/.ready ## everything but the slow tests, then parity with the independent implementations
	$(BIN)/pytest -n 2 -m "not slow and not parity"
	$(MAKE) parity

test-slow: $(VENV)/.ready ## the long tests
	$(BIN)/pytest -m "slow and not parity"

# The peers, and the runtimes with the exporter to them, come without their dependencies, into a folder that only the
# parity tests and the benchmarks put on their path.
$(PEERS)/.ready: $(VENV)/.ready constraints.txt
	rm -rf $(PEERS)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(PEERS) --constraint constraints.txt \
		timm torchvision pytorchcv onnxruntime openvino onnx onnxscript onnx-ir ml_dtypes protobuf flatbuffers
	touch $@

runtimes: $(PEERS)/.ready ## what benchmarks/optimized.py compares with

parity: $(PEERS)/.ready ## against timm, torchvision and pytorchcv; in ONNX Runtime and OpenVINO
	$(BIN)/pytest -n 2 -m parity tests/parity

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready $(PEERS)/.ready ## every benchmark; hours on two cores, see benchmarks/README.md
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

docs: $(VENV)/.ready ## run the code blocks of the README and the docs
	$(BIN)/pytest tests/test_docs.py

clean:
	rm -rf $(VENV) $(PEERS) build dist demo .pytest_cache .ruff_cache
