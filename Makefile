# `make help` lists the targets. Everything that is installed lies in .local/ and target/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .local/venv/bin/python
CHECKOV := .local/checkov-venv/bin/checkov
NODE_TOOLS := tests/local/node/node_modules/.bin
LOCAL_AWS := $(PYTHON) tests/local/local_aws.py
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := .local/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
BINARIES := target/debug

.PHONY: help demo test bench lint audit format build package deploy destroy local-up local-down tools nextest prerequisites

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: tools build ## shows the main job on a local AWS that it installs itself
	tests/local/demo.sh

test: lint build nextest ## everything: format, lints, unit, contract, unwinding, end to end on the local AWS, probes
	cargo nextest run --workspace --locked
	cargo test --workspace --doc --locked --quiet
	$(PYTHON) tests/local/probes.py

lint: tools .local/checkov-venv/installed.txt $(CARGO_DENY) ## format and static checks of the code, the crates, the template, the policies, the state machine and the scripts
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	$(CARGO_DENY) --log-level error check --hide-inclusion-graph --deny warnings bans licenses sources
	@if timeout 60 $(CARGO_DENY) fetch db >/dev/null 2>&1; then $(CARGO_DENY) --log-level error check advisories; \
	else echo 'note: known vulnerabilities were not looked up, as the advisory database cannot be reached: make audit' >&2; fi
	.local/venv/bin/ruff format --check --quiet tests/local tests/recorded infrastructure crates/profiles/tests benchmarks
	.local/venv/bin/ruff check --quiet tests/local tests/recorded infrastructure crates/profiles/tests benchmarks
	.local/venv/bin/shellcheck infrastructure/*.sh tests/local/*.sh .ci/run
	$(PYTHON) infrastructure/assemble.py target/template.yaml
	.local/venv/bin/cfn-lint target/template.yaml
	$(CHECKOV) --file target/template.yaml --framework cloudformation --skip-download --quiet --compact
	$(PYTHON) tests/local/lint_policies.py target/template.yaml
	$(NODE_TOOLS)/asl-validator --json-path infrastructure/session.asl.json

bench: tools .local/bench-venv/installed.txt ## measures everything and writes docs/benchmarks.md (QUICK=1 only sees that it runs)
	@tests/local/prerequisites.sh valgrind
	cargo build --workspace --locked $(if $(QUICK),,--release)
	target/$(if $(QUICK),debug,release)/sorry-benchmarks $(if $(QUICK),--quick)

audit: $(CARGO_DENY) ## looks up known vulnerabilities and yanked versions of the crates; fails without the network
	$(CARGO_DENY) check advisories

format: tools ## formats the Rust and the Python
	cargo fmt
	.local/venv/bin/ruff format --quiet tests/local tests/recorded infrastructure crates/profiles/tests benchmarks

build: prerequisites ## builds the command line and the functions, for this machine
	cargo build --workspace --locked

package: ## builds the functions' zips for AWS (ARCHITECTURE=arm64, or x86_64) into target/lambda
	infrastructure/package.sh

deploy: ## packages and deploys to the account that the AWS CLI is signed in to
	infrastructure/deploy.sh

destroy: ## ends all sessions and removes the deployment (ARGUMENTS=--dry-run shows what it would do)
	infrastructure/destroy.sh $(ARGUMENTS)

local-up: tools build ## starts a local AWS with the real deployment; then: source .local/aws/env
	$(LOCAL_AWS) up --state .local/aws --binaries $(BINARIES)

local-down: tools ## ends it
	$(LOCAL_AWS) down --state .local/aws

# What the checks and the local AWS need, pinned, once for each set of pins.
tools: prerequisites .local/venv/installed.txt tests/local/node/node_modules/installed.json

nextest:
	@command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest

.local/venv/installed.txt: tests/local/requirements.txt
	rm -rf .local/venv
	python3 -m venv .local/venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	cp $< $@

# A venv of its own: it pins a boto3 that MiniStack cannot live with.
.local/checkov-venv/installed.txt: tests/local/checkov-requirements.txt
	rm -rf .local/checkov-venv
	python3 -m venv .local/checkov-venv
	.local/checkov-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	cp $< $@

# What `sorry` is compared with, in a venv of its own.
.local/bench-venv/installed.txt: benchmarks/requirements.txt
	rm -rf .local/bench-venv
	python3 -m venv .local/bench-venv
	.local/bench-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	.local/bench-venv/bin/python -m compileall -q .local/bench-venv/lib
	cp $< $@

# Without optimisation it is built in a quarter of the time, and still checks in two seconds.
$(CARGO_DENY):
	CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --version $(CARGO_DENY_VERSION) --root .local/cargo-deny-$(CARGO_DENY_VERSION) cargo-deny

tests/local/node/node_modules/installed.json: tests/local/node/package-lock.json
	npm ci --prefix tests/local/node --no-audit --no-fund --loglevel=error
	cp $< $@

prerequisites:
	@tests/local/prerequisites.sh
