"""Judges of attribution maps."""
