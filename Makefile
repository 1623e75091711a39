# nuncio: `make run` to try it, `make test` to check it. `make help` lists the rest.

SHELL := /bin/bash
CARGO ?= cargo
export NUNCIO_ENVOY

# Other sizes than the bench's own; an empty one leaves the measurement out.
SIZES_OPTION = --sizes "$(SIZES)"
GATEWAYS_OPTION = --gateways "$(GATEWAYS)"
HOSTS_OPTION = --hosts "$(HOSTS)"
SERVED_OPTION = --served "$(SERVED)"
CLUSTERS_OPTION = --clusters "$(CLUSTERS)"
BUSY_OPTION = --busy "$(BUSY)"
FLEET_OPTION = --fleet "$(FLEET)"
CERTIFICATES_OPTION = --certificates "$(CERTIFICATES)"
ROUTES_OPTION = --routes "$(ROUTES)"
FILTERS_OPTION = --filters "$(FILTERS)"

.PHONY: help run test soak conformance conformance-shuffled conformance-alone bench bench-instructions bench-ratelimit lint fmt clean envoy toolchain

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: toolchain ## Build, install Envoy, and start the gateway on examples/quickstart
	@scripts/quickstart.sh

test: toolchain ## Install what the tests need and run all of them
	@NUNCIO_ENVOY="$$(scripts/install-envoy.sh)" && export NUNCIO_ENVOY && \
	    CHROMEDRIVER="$$(scripts/install-chromium.sh)" && export CHROMEDRIVER && \
	    programs="$$(scripts/install-prometheus.sh)" && { read -r PROMETHEUS && read -r PROMTOOL; } <<<"$$programs" && \
	    export PROMETHEUS PROMTOOL && \
	    KUBERNETES_BIN="$$(scripts/install-kubernetes.sh)" && export KUBERNETES_BIN && \
	    REDIS_SERVER="$$(scripts/install-redis.sh)" && export REDIS_SERVER && \
	    RATELIMIT="$$(scripts/install-ratelimit.sh)" && export RATELIMIT && \
	    HELM="$$(scripts/install-helm.sh)" && export HELM && \
	    ZIPKIN="$$(scripts/install-zipkin.sh)" && export ZIPKIN && \
	    CONSUL="$$(scripts/install-consul.sh)" && export CONSUL && \
	    OTELCOL="$$(scripts/install-otelcol.sh)" && export OTELCOL && \
	    NFT="$$(scripts/install-nftables.sh)" && export NFT && \
	    CONFORMANCE_BIN="$$(scripts/install-conformance.sh)" && export CONFORMANCE_BIN && \
	    $(CARGO) test --workspace --locked

soak: toolchain ## Change and kill things under load for SECONDS (default 600), and hold 10,000 changes to cold starts
	@NUNCIO_ENVOY="$$(scripts/install-envoy.sh)" && export NUNCIO_ENVOY && \
	    NUNCIO_STEPS=10000 $(CARGO) test --workspace --locked --test incremental && \
	    NUNCIO_SOAK_SECONDS="$(or $(SECONDS),600)" $(CARGO) test --workspace --locked --test load soak -- --nocapture

conformance: ## Run the Gateway API's conformance suite (TEST=Name: one test); the report is in target/conformance
conformance: SUITE = run.sh target/conformance $(if $(TEST),-run-test=$(TEST))

conformance-shuffled: ## Run all of it twice in a row, each time in another random order (SEED=number: those again)
conformance-shuffled: SUITE = orders.sh shuffled target/conformance-orders $(SEED)

conformance-alone: ## Run each test of it beside a nuncio of its own, which takes long (TESTS="Name Name": some)
conformance-alone: SUITE = orders.sh alone target/conformance-orders $(TESTS)

conformance conformance-shuffled conformance-alone: toolchain
	@NUNCIO_ENVOY="$$(scripts/install-envoy.sh)" && export NUNCIO_ENVOY && \
	    KUBERNETES_BIN="$$(scripts/install-kubernetes.sh)" && export KUBERNETES_BIN && \
	    NFT="$$(scripts/install-nftables.sh)" && export NFT && \
	    CONFORMANCE_BIN="$$(scripts/install-conformance.sh)" && export CONFORMANCE_BIN && \
	    $(CARGO) build --workspace --locked --bin nuncio && \
	    NUNCIO=target/debug/nuncio tests/conformance/$(SUITE)

bench: toolchain ## Measure what nuncio costs (docs/bench.md); BASELINE=old.json compares
	@NUNCIO_ENVOY="$$(scripts/install-envoy.sh)" && export NUNCIO_ENVOY && \
	    KUBERNETES_BIN="$$(scripts/install-kubernetes.sh)" && export KUBERNETES_BIN && \
	    $(CARGO) run --release --locked -p nuncio-bench -- run $(if $(BASELINE),--baseline "$(BASELINE)") \
	    $(foreach sizes,SIZES GATEWAYS HOSTS SERVED CLUSTERS BUSY FLEET CERTIFICATES ROUTES FILTERS,$(if $(filter-out undefined,$(origin $(sizes))),$($(sizes)_OPTION)))

bench-instructions: toolchain ## Count the instructions of a cold translation and of a change, with valgrind
	@$(CARGO) run --release --locked -p nuncio-bench -- instructions

bench-ratelimit: toolchain ## Measure a decision about a limit, beside envoyproxy/ratelimit
	@REDIS_SERVER="$$(scripts/install-redis.sh)" && export REDIS_SERVER && \
	    RATELIMIT="$$(scripts/install-ratelimit.sh)" && export RATELIMIT && \
	    $(CARGO) bench --locked -p nuncio-ratelimit --bench decisions

lint: toolchain ## Formatting, clippy with warnings denied, shell scripts
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
	@for script in scripts/*.sh tests/conformance/*.sh .ci/run; do bash -n "$$script" || exit 1; done

fmt: ## Format the code
	$(CARGO) fmt --all

envoy: ## Install Envoy into .tools and print its path
	@scripts/install-envoy.sh

clean: ## Remove everything that was built or installed here
	rm -rf target .tools .state

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "nuncio is built with Rust, which is not installed: see https://rustup.rs" >&2; exit 1; }
