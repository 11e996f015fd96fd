# Run `make help` for the list. Everything is a plain go command: copy the line if you have no make.

BENCH ?= .

# A benchmark runs in the folder of its package, so a relative name would end up there.
ifneq ($(BENCH_JSON),)
override BENCH_JSON := $(abspath $(BENCH_JSON))
export BENCH_JSON
endif

.DEFAULT_GOAL := help
.PHONY: help test bench chaos lint

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Package stream first: its tests wait more than they work, so the others run beside them and not after them.
test: ## Run all tests with the race detector.
	go test -race -parallel 4 -timeout 20m ./stream ./...

# Each benchmark measures ours and a reference in one run. Packages go one at a time, so that they do not disturb each other.
bench: ## Run the benchmarks; BENCH=regexp picks some, BENCH_JSON=file also writes the table of ratios.
	go test -p 1 -run '^$$' -bench '$(BENCH)' ./...

# The short form of both is among the tests.
chaos: ## Run an app of three processes on three servers through a million records and minutes of faults; every crash point twice.
	ROSSBY_CHAOS=long go test -v -count=1 -timeout 60m -run '^(TestChaosInstances|TestCrashPoints)$$' ./processor

lint: ## Check format, vet, staticcheck, errorlint and the house rules of internal/lint.
	@.ci/run lint
