# Millrace's verbs. Each sets up what it needs; on a machine that has it, that takes a second.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.cache/tools/bin:$(PATH)
MILLRACE := target/debug/millrace

.PHONY: help demo dev up down test check deploy-check docs-check fmt bench bench-deliver bench-isolation simulate chaos million clean

help: ## says what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: build ## shows the main job in one process, with nothing installed; FAULT=swallow|double makes its receiver lie
	@$(MILLRACE) demo

dev: build ## runs everything in one process on examples/ until Ctrl-C
	@$(MILLRACE) dev

up: build ## runs the four services on a local Kafka and registry, which keep their data
	@deploy/local/fetch.sh
	@deploy/local/millrace.sh up

down: ## stops what `make up` started
	@deploy/local/millrace.sh down

test: ## sets up, checks and tests everything
	@.ci/test

check: ## the quick part: format, house, licences, lints
	@.ci/setup lint
	@cargo fetch --locked --quiet
	cargo fmt --all --check
	cargo xtask house
	cargo deny --log-level error --offline check licenses bans sources
	cargo clippy --workspace --all-targets --quiet -- -D warnings

deploy-check: build ## checks the chart, and what `make up` and its dashboard promise, on parts that begin empty
	@.ci/setup test
	@deploy/checks/helm.sh
	@deploy/checks/local.sh

docs-check: build ## checks the docs against the code: links, commands, metrics, defaults, the tutorial
	@docs/check
	@docs/tutorial

fmt: ## formats the code
	cargo fmt --all

bench: ## measures each service beside its floor; BENCH="ingest --pairs 3" measures one
	@.ci/setup test
	cargo build --quiet --release --package millrace --package millrace-floor --package millrace-bench
	target/release/bench $(BENCH)

bench-deliver: ## measures deliver by answers, keys, destinations and bodies; BENCH_DELIVER="--answers 10 --keys 100" one cell
	@$(MAKE) --no-print-directory bench BENCH='grid $(BENCH_DELIVER)'

bench-isolation: ## measures a healthy destination beside failing ones, and memory; BENCH_ISOLATION="--fails hang --pairs 7"
	@$(MAKE) --no-print-directory bench BENCH='isolation memory $(BENCH_ISOLATION)'

simulate: ## runs random histories of the delivery engine without a broker; SEEDS=9 DELIVERIES=9000, or SEED=17 alone
	@.ci/setup test
	MILLRACE_SIMULATE_SEEDS=$(SEEDS) MILLRACE_SIMULATE_DELIVERIES=$(DELIVERIES) MILLRACE_SIMULATE_SEED=$(SEED) \
	  cargo nextest run --workspace --all-targets -E 'package(deliver) & test(/simulate::tests/)' --no-capture

chaos: ## kills, stops and misleads what runs under load; SCENARIO=rebalances alone, SEED=7, MINUTES=5 of rounds
	@.ci/setup chaos
	MILLRACE_CHAOS=whole MILLRACE_CHAOS_SEED=$(SEED) MILLRACE_CHAOS_MINUTES=$(MINUTES) \
	  cargo nextest run --workspace --all-targets --profile chaos --run-ignored all \
	  -E 'package(millrace-tests) & test(/chaos_.*$(SCENARIO)/)' --no-capture

million: ## lists, counts and replays a million dead letters on a real Kafka, with a kill -9
	@.ci/setup test
	cargo nextest run --workspace --all-targets --profile chaos --run-ignored only \
	  -E 'package(dlq-replayer) & test(of_a_million)' --no-capture

clean: down ## removes what was built and what local runs keep; .cache/ stays
	rm -rf target .cache/local .cache/check

.PHONY: build
build:
	@.ci/setup build
	@cargo build --quiet
