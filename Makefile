# The front door: each target calls one script or meson. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup sysroot run shell

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 14

setup: ## install the Debian packages that building and testing need
	@tools/setup

sysroot: setup ## what RISC-V programs are linked with: libraries and headers, in the cache
	@testbed/sysroot

run: setup televm ## boot the emulated host and in it a microVM with Debian's kernel
	@guest/build-debian
	@testbed/demo

shell: setup televm ## a shell in the emulated host, with televm and the guests that are built
	@testbed/run -- bash
