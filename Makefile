# The two commands: `make demo` and `make test`. Both set up what they need; a second run sets up nothing.
# One profile (release) and one set of features serve all of these, so nothing heavy is compiled twice. The policies' own tests are
# light, and quicker without optimisation.

CARGO ?= cargo
DEMO_REPORT ?= target/demo.html

.PHONY: help setup build demo demo-live test languages lint bench

help:
	@echo "make demo   set up, build, replay a recorded load through the default policies, write $(DEMO_REPORT)"
	@echo "make demo-live  set up, build, serve three fake models under load for 80 s, swap a policy meanwhile"
	@echo "make test   set up, build, run every test"
	@echo "make languages  the example policies in C and JavaScript: install what npm has, build, test"
	@echo "make build  set up, leave one self-contained target/release/tidegate"
	@echo "make lint   formatting and clippy, warnings denied"
	@echo "make bench  criterion benches, and 'tidegate bench' for the figures a person reads"

setup:
	@scripts/wasm-std

build: setup
	$(CARGO) build --release --locked --workspace

demo: build
	$(CARGO) run --release --locked --quiet --package tidegate -- replay \
		fixtures/traces/azure-llm-2023-code.csv.gz fixtures/traces/longtail-demo.csv.gz \
		--services fixtures/manifests/demo.yaml --profile gpu --report $(DEMO_REPORT)

demo-live: build
	@scripts/demo-live

test: setup
	$(CARGO) test --release --locked --workspace
	cd policies && $(CARGO) test --locked --workspace

# Fails where a tool is missing; `make test` passes over what it cannot build.
languages: build
	npm ci --prefix policies/sdk-js --no-fund --no-audit
	TIDEGATE=target/release/tidegate policies/sdk-c/build policies/examples/office-hours-c/office_hours.c target/office_hours-c.wasm
	policies/sdk-js/build policies/examples/office-hours-js/office_hours.js target/office_hours-js.wasm
	$(CARGO) test --release --locked --workspace --test languages

lint: setup
	$(CARGO) fmt --all --check
	cd policies && $(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	cd policies && $(CARGO) clippy --locked --workspace --all-targets -- -D warnings

bench: build
	$(CARGO) bench --locked --workspace
	$(CARGO) run --release --locked --quiet --package tidegate -- bench
