"""The command line."""

from captum_shared.cli import benchmark, demo, explain, features, init, layers, methods, report, simulate, study
from captum_shared.cli.app import app

__all__ = [
    "app",
    "benchmark",
    "demo",
    "explain",
    "features",
    "init",
    "layers",
    "methods",
    "report",
    "simulate",
    "study",
]
