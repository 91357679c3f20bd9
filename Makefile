PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := 2.13.0
TORCH_CPU := https://download.pytorch.org/whl/cpu

.PHONY: setup run test check bench docs matrix ascend-check clean

setup: $(READY)
	@$(BIN)/python -c "import torch; print('PyTorch', torch.__version__, '(CUDA build)' if torch.version.cuda else '(CPU build)')"

# The CPU build first: on x86-64 Linux the index's own wheel is a CUDA build of several gigabytes.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/python -c "import torch" 2>/dev/null \
	  || $(BIN)/pip install --quiet --retries 0 --timeout 10 --index-url $(TORCH_CPU) torch==$(TORCH) 2>/dev/null \
	  || $(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet --editable '.[torch,dev]'
	touch $(READY)

run: $(READY)
	$(BIN)/python examples/move_gpt.py

# A process for each processor, with one thread: threads that share a processor wait for each other. Files in their own order: the
# usual one, those with most tests first, has the longest at the end, for one processor alone.
test: $(VENV)/.packages
	$(BIN)/python -m compileall -q xinqiao  # once for all programs, also where Python is told to write none
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not matrix and not nightly and not ascend" \
	  --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# Published packages that the tests run.
$(VENV)/.packages: $(READY) tests/real/requirements.txt tests/real/no-deps.txt
	$(BIN)/pip install --quiet -r tests/real/requirements.txt
	$(BIN)/pip install --quiet --no-deps -r tests/real/no-deps.txt
	touch $@

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

bench: $(READY)
	$(BIN)/python benchmarks/all.py

# The device's tests under a second PyTorch, in an environment of its own (gigabytes: the index's wheel is a CUDA build,
# under which only chips with a device name of their own can be virtual).
MATRIX_TORCH ?= 2.14.1
matrix:
	$(PYTHON) -m venv build/matrix
	build/matrix/bin/pip install --quiet torch==$(MATRIX_TORCH)
	build/matrix/bin/pip install --quiet --editable '.[torch,dev]'
	build/matrix/bin/python -m pytest tests/device/test_on_chips.py tests/device/test_distributed.py \
	  tests/device/test_programs.py -k "not nvidia and not kunlun"

# Kernels against the on-chip memory of Ascend cores, by the vendor's compiler (300 MB from PyPI; no device). Its Triton is
# another one, so it has an environment of its own, which finds PyTorch in the first.
ASCEND := build/ascend
ascend-check: $(VENV)/.packages
	test -e $(ASCEND)/bin/python || $(PYTHON) -m venv $(ASCEND)
	$(ASCEND)/bin/pip install --quiet triton-ascend==3.2.0 ascendnpu-ir==1.2.0 pybind11 numpy
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])" \
	  > $$($(ASCEND)/bin/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")/zz_xinqiao.pth
	$(BIN)/python -m pytest -m ascend tests/ops/triton

docs: $(READY)
	$(BIN)/python tools/rule_pages.py
	$(BIN)/python benchmarks/size_guide.py --write

clean:
	rm -rf $(VENV) build dist *.egg-info
