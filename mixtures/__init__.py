"""Mixtures: spec, solver, lock, loader."""
