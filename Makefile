# `make demo` and `make test` need nothing but Python 3.11 or newer: the environment is made when it is missing.
# `make pictures` makes the pictures in docs/ again that show no screen, and prints the tables of docs/options.md.
# `make bench` takes the measurements of docs/performance.md, or with ROWS="..." some of them; `make bench-scaling` those of
# docs/scaling.md, or with PARTS="..." some of them.
# `make test-comfyui` and `make test-web` also need ComfyUI, in $COMFYUI_DIR or ~/.cache/gpen-hosts/ComfyUI, and the
# latter needs Chromium, in $CHROMIUM or on the path. `make test-comfyui COMFYUI_DIR=...` runs them in another version;
# each version gets an environment of its own. `make test-forge` and `make test-a1111` need SD-WebUI Forge, whose
# history has AUTOMATIC1111 in it, in $FORGE_DIR or ~/.cache/gpen-hosts/stable-diffusion-webui-forge; `make
# test-forge-neo`, `make test-reforge` and `make test-sdnext` need those hosts, in $FORGE_NEO_DIR, $REFORGE_DIR and
# $SDNEXT_DIR or sd-webui-forge-neo, stable-diffusion-webui-reForge and sdnext beside it. `make test-ray` makes an
# environment with Ray, `make test-app` one with Gradio; that needs Chromium as well.
# `make fuzz MINUTES=30` gives files of strangers to everything that reads files, further ones than `make test` does; on
# Linux it searches for them by coverage.
.PHONY: demo pictures test fuzz bench bench-scaling test-comfyui test-web test-forge test-forge-neo test-a1111 \
	test-reforge test-sdnext test-release test-ray test-app format

demo:
	@python=$$(bash .ci/environment) && "$$python" demo/demo.py && "$$python" demo/tasks.py

pictures:
	@python=$$(bash .ci/environment) && for part in options paste compare_sheet video_frames; do \
		"$$python" demo/$$part.py || exit; \
	done

test:
	@python=$$(bash .ci/environment) && \
	"$$python" -m ruff check . && \
	"$$python" -m ruff format --check . && \
	"$$python" .ci/types && \
	"$$(dirname "$$python")/lint-imports" && \
	"$$python" -m pytest

fuzz:
	@python=$$(bash .ci/environment fuzz) && "$$python" -m tests.fuzz $(or $(MINUTES),10)

bench:
	@python=$$(bash .ci/environment) && "$$python" -m bench.performance $(ROWS)

bench-scaling:
	@python=$$(bash .ci/environment ray) && "$$python" -m bench.scaling $(PARTS)

test-comfyui:
	@python=$$(bash .ci/environment comfyui) && \
	GPEN_NEEDS_COMFYUI=1 "$$python" -m pytest --durations=10 tests/hosts/comfyui tests/hosts/test_pack.py

test-web:
	@bash .ci/chromium >/dev/null && python=$$(bash .ci/environment comfyui) && \
	GPEN_NEEDS_COMFYUI=1 "$$python" -m pytest tests/web

test-forge test-forge-neo test-a1111 test-reforge test-sdnext: test-%:
	@python=$$(bash .ci/environment $*) && WEBUI=$* "$$python" -m pytest --durations=10 tests/hosts/webui

test-release:
	@python=$$(bash .ci/environment release) && "$$python" -m pytest --durations=10 tests/test_release.py

test-ray:
	@python=$$(bash .ci/environment ray) && "$$python" -m pytest --durations=10 tests/batch/ray/test_engine.py tests/batch/ray/test_films.py

test-app:
	@bash .ci/chromium >/dev/null && python=$$(bash .ci/environment app) && "$$python" -m pytest --durations=10 tests/app

format:
	@python=$$(bash .ci/environment) && \
	"$$python" -m ruff check --fix . && \
	"$$python" -m ruff format .
