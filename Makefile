# Nightshelf on one machine. Needs Python 3.11 or 3.12 and make; the rest comes from PyPI on the first use.
.DEFAULT_GOAL := help
.PHONY: help install s3a kafka jars run serve airflow test bench soak clean
PY := .venv/bin/python -E
SUPPORTED := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-14s%s\n' "$$name" "$$text"; done
	@echo 'Exit codes: 0 done, 2 usage or configuration, 3 gate refused, 75 temporary, 130 Ctrl-C; make itself says "Error N".'

install: ## .venv with the pinned requirements (PYTHON=/path chooses the Python); nothing when it is there
	@for python in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3 python); do \
	    if "$$python" -c '$(SUPPORTED)' 2>/dev/null; then exec "$$python" -m deploy.embedded.install; fi; \
	done; echo 'nightshelf: no Python 3.11 or 3.12$(if $(PYTHON), at PYTHON=$(PYTHON), on PATH): install one, or say make PYTHON=/path/to/python' >&2; exit 2

s3a: install ## the jars for a lake on s3://, by pinned coordinates, into deploy/s3a/jars (IVY_SETTINGS=file for a mirror)
	@exec $(PY) -m deploy.jars s3a

kafka: install ## the jars of a Kafka broker for the tests, likewise, into deploy/kafka/jars
	@exec $(PY) -m deploy.jars kafka

jars: install ## both, side by side
	@exec $(PY) -m deploy.jars s3a kafka

run: install ## raw events to slates over HTTP, once (DATA=path SOURCE=name-or-file for your own; PORT=)
	@exec $(PY) -m deploy.embedded.run

serve: install ## the API on the release of the last run, until Ctrl-C (PORT=8330)
	@exec $(PY) -m deploy.embedded.serve

airflow: install ## Airflow's scheduler and UI on the same lake, until Ctrl-C (PORT=8331); DAGs start paused
	@exec $(PY) -m deploy.embedded.scheduler

test: install ## every test this machine can run, and a list of those it cannot (ARGS= for pytest)
	@exec $(PY) -m deploy.embedded.testing $(ARGS)

bench: install ## kernels beside their peers, then nights on generated lakes (EVENTS="1000000 10000000", KERNELS=)
	@exec $(PY) -m benchmarks

soak: install ## hours and nights while tasks, Airflow, Spark and Redis are killed: is all as if not? (SOAK_HOURS=72 SOAK_KILLS=30 SEED=1)
	@exec $(PY) -m benchmarks.soak

clean: ## remove .nightshelf: lake, releases, Redis dump, secret, logs (.venv stays)
	@if [ -x .venv/bin/python ]; then exec $(PY) -m deploy.embedded.clean; else rm -rf .nightshelf; fi
