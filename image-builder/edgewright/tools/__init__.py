"""Thin wrappers of the programs the builder drives, one a file."""
