# nuncio: `make run` to try it, `make test` to check it. `make help` lists the rest.

SHELL := /bin/bash
CARGO ?= cargo
export NUNCIO_ENVOY

.PHONY: help run test lint fmt clean envoy toolchain

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: toolchain ## Build, install Envoy, and start the gateway on examples/quickstart
	@scripts/quickstart.sh

test: toolchain ## Install what the tests need and run all of them
	@NUNCIO_ENVOY="$$(scripts/install-envoy.sh)" && export NUNCIO_ENVOY && \
	    CHROMEDRIVER="$$(scripts/install-chromium.sh)" && export CHROMEDRIVER && \
	    $(CARGO) test --workspace --locked

lint: toolchain ## Formatting, clippy with warnings denied, shell scripts
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
	@for script in scripts/*.sh .ci/run; do bash -n "$$script" || exit 1; done

fmt: ## Format the code
	$(CARGO) fmt --all

envoy: ## Install Envoy into .tools and print its path
	@scripts/install-envoy.sh

clean: ## Remove everything that was built or installed here
	rm -rf target .tools .state

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "nuncio is built with Rust, which is not installed: see https://rustup.rs" >&2; exit 1; }
