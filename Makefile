# The front door: each target calls one script or meson. `make help` lists them.
.DEFAULT_GOAL := help
