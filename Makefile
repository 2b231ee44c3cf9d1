# The whole of how this project is used. Needs only make and python3 (3.11 or later); everything else is brought along.
SHELL := /bin/sh
RUN = .venv/bin
PATHS = operator worker tests benchmarks tools examples

.PHONY: help demo test torture test-chart e2e check format generate bench bench-operator bench-policy bench-trust kind-up kind-down kind-status images manifests clean

help: ## what can be made
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /|/' | while IFS='|' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

.venv/.ready: pyproject.toml uv.lock operator/pyproject.toml worker/pyproject.toml tools/bootstrap.py
	@python3 tools/bootstrap.py && touch .venv/.ready

demo: .venv/.ready ## a shop's rush hour: three pools, real jobs, counted (about a minute); ARGS="--chaos worker"
	@$(RUN)/workerpool demo $(ARGS)

test: .venv/.ready ## unit and integration tests, in two processes; ARGS="-k name"
	@$(RUN)/pytest -n 2 --dist loadfile $(ARGS)

torture: .venv/.ready ## the worker under torture, for 5 minutes; ARGS="--minutes 30 --seed 7 --database postgresql"
	@$(RUN)/python -m tests.torture $(ARGS)

test-chart: .venv/.ready ## the chart, by the real Helm: switches, rights, values to refuse, six Kubernetes versions (4 minutes)
	@$(RUN)/pytest tests/chart $(ARGS)

e2e: .venv/.ready ## real pods on a kind cluster of its own; KEEP=1 leaves it for the next run; ARGS="-k rush"
	@KEEP="$(KEEP)" $(RUN)/pytest tests/e2e $(ARGS)

check: .venv/.ready ## the gate: format, lint, types, layers, lock file
	@python3 tools/bootstrap.py lock --check --quiet
	@$(RUN)/ruff format --check --quiet $(PATHS)
	@$(RUN)/ruff check --quiet $(PATHS)
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo
	@$(RUN)/python tools/house_rules.py
	@$(RUN)/workerpool crd | cmp -s - manifests/crd.yaml || { echo "manifests/crd.yaml is not the model's: make generate"; exit 1; }
	@cmp -s manifests/crd.yaml charts/workerpool/files/crd.yaml || { echo "the chart's CRD is not manifests/crd.yaml: make generate"; exit 1; }
	@if command -v helm > /dev/null; then helm lint --strict --quiet charts/workerpool; \
	else echo "the chart was not linted: there is no helm (make test-chart needs one)"; fi

format: .venv/.ready ## put the code into the house's form
	@$(RUN)/ruff format --quiet $(PATHS)
	@$(RUN)/ruff check --fix --quiet $(PATHS)

generate: .venv/.ready ## renew what is made from something else: the CRD, the reference tables, the chart's schema and README
	@$(RUN)/workerpool crd > manifests/crd.yaml.new && mv manifests/crd.yaml.new manifests/crd.yaml
	@$(RUN)/python -m workerpool_operator.resource.reference docs/workerpool.md
	@cp manifests/crd.yaml charts/workerpool/files/crd.yaml
	@$(RUN)/python tools/chart_schema.py charts/workerpool
	@$(RUN)/python tools/chart_readme.py charts/workerpool

bench: .venv/.ready ## measure speed, beside the alternative
	@for f in $(filter-out %/operator_scale.py %/policies.py %/simulator_trust.py,$(wildcard benchmarks/*.py)); do echo "== $$f"; $(RUN)/python -m benchmarks.$$(basename $$f .py) || exit 1; done

bench-operator: .venv/.ready ## the operator with 10 and 1,000 pools on an API server of its own (6 minutes)
	@$(RUN)/python -m benchmarks.operator_scale $(ARGS)

bench-policy: .venv/.ready ## the policy beside KEDA tuned, over a grid of scenarios; ARGS="--quick --traces FOLDER"
	@$(RUN)/python -m benchmarks.policies $(ARGS)

bench-trust: .venv/.ready ## the simulator beside real workers with the same jobs (5 minutes); ARGS="--traces one.csv --write"
	@$(RUN)/python -m benchmarks.simulator_trust $(ARGS)

kind-up: ## a kind cluster with everything in it: images, chart, pools, shop, load templates (needs Docker, kind, kubectl, helm)
	@python3 -m tools.cluster up

kind-down: ## delete that cluster
	@python3 -m tools.cluster down

kind-status: ## what is in it
	@python3 -m tools.cluster status

images: ## build the images that have changed
	@python3 -m tools.cluster images

manifests: .venv/.ready ## render manifests/install.yaml and the kustomize base from the chart (needs helm)
	@$(RUN)/python -m tools.render_manifests

clean: ## remove what was built here
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-output e2e-output torture-output .workerpool
