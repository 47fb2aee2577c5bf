"""Sweeps: many points of a config, trained together where they can share a program."""
