"""The command line."""

from captum_shared.cli import demo, explain, study
from captum_shared.cli.app import app

__all__ = ["app", "demo", "explain", "study"]
