# `make demo` and `make test` need nothing but Python 3.11 or newer: the environment is made when it is missing.
# `make test-comfyui` and `make test-web` also need ComfyUI, in $COMFYUI_DIR or ~/.cache/gpen-hosts/ComfyUI, and the
# latter needs Chromium.
.PHONY: demo test test-comfyui test-web format

demo:
	@python=$$(bash .ci/environment) && "$$python" demo/demo.py

test:
	@python=$$(bash .ci/environment) && \
	"$$python" -m ruff check . && \
	"$$python" -m ruff format --check . && \
	"$$python" -m mypy && \
	"$$python" -m pytest

test-comfyui:
	@python=$$(bash .ci/environment comfyui) && "$$python" -m pytest --durations=10 tests/hosts/test_comfyui*.py

test-web:
	@python=$$(bash .ci/environment comfyui) && "$$python" -m pytest tests/web

format:
	@python=$$(bash .ci/environment) && \
	"$$python" -m ruff check --fix . && \
	"$$python" -m ruff format .
