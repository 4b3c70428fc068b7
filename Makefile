.DEFAULT_GOAL := help
.PHONY: help demo test bench lint docs
# rustup puts cargo here; a shell that ran before the installation does not know it yet.
export PATH := $(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## install what is missing, build, and run the main job on real servers
	@scripts/setup
	cargo build --release --locked
	@$(TARGET)/release/millstream demo

test: ## install what is missing, check format and lints, run every test
	@scripts/test

bench: ## benchmarks beside their references; options in BENCH, e.g. BENCH='--quick --only w1'
	@scripts/setup tests
	cargo build --release --locked -p millstream -p millstream-bench
	@$(TARGET)/release/millstream-bench $(BENCH)

lint: ## format and lints only
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

docs: ## the API documentation of the workspace, in target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
