# The front door: each target calls one script or meson. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup sysroot run shell televm install guests kernel rootfs test test-long fuzz bench bench-check lint format clean

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

televm: setup ## build the program for riscv64: build/riscv64/televm
	@tools/build riscv64

install: televm ## install program, manual pages and completion below /usr/local, or DESTDIR=FOLDER/usr/local
	@meson install -C build/riscv64 --no-rebuild

kernel: setup ## build the small guest kernel from Debian's sources
	@guest/build-kernel

rootfs: setup ## build the root file system: a small Debian with a login
	@guest/build-rootfs

guests: kernel rootfs ## build every guest: both kernels, their initramfs, the root file system
	@guest/build-initramfs
	@guest/build-debian

test: ## run all tests; ends with "N passed, N failed"
	@tools/test

test-long: setup televm guests ## the loops that take long: many boots, many VMs at once
	@tests/system/run --long

fuzz: ## fuzz every target for ten minutes each
	@TELEVM_FUZZ_SECONDS=600 tools/test fuzz

bench: televm guests ## measure TeleVM beside QEMU and the bare hart: about 12 minutes
	@bench/run

bench-check: bench ## the same, and fail when a row is 3 % worse than bench/baseline.json
	@bench/check

lint: ## check format, include directions, clang-tidy, scripts and documents
	@tools/lint

format: setup ## put all C files into the project's format
	@clang-format-19 -i $$(git ls-files 'src/*.[ch]' 'tests/*.[ch]' 'guest/*.[ch]' 'bench/*.[ch]' 'testbed/*.[ch]')

clean: ## remove build/; what is cached outside stays
	@rm -rf build
