"""The fastest form of a trained network on this machine: its graph simplified, compiled, and every step measured."""

from corinth.inference.forms import Optimized
from corinth.inference.optimizing import optimize
from corinth.inference.report import OptimizationReport, Step

__all__ = ["OptimizationReport", "Optimized", "Step", "optimize"]
