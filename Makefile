# `make demo` and `make test` need nothing but Python 3.11 or newer: the environment is made when it is missing.
.PHONY: demo test format

demo:
	@python=$$(bash .ci/environment) && "$$python" demo/demo.py

test:
	@python=$$(bash .ci/environment) && \
	"$$python" -m ruff check . && \
	"$$python" -m ruff format --check . && \
	"$$python" -m mypy && \
	"$$python" -m pytest

format:
	@python=$$(bash .ci/environment) && \
	"$$python" -m ruff check --fix . && \
	"$$python" -m ruff format .
