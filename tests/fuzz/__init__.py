"""Mutations of real files: what reads a stranger's bytes must answer all of them."""
