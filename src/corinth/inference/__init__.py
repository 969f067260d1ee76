"""The fastest form of a trained network on this machine: its graph simplified, compiled, and every step measured."""

from corinth.inference.optimizing import Optimized, optimize
from corinth.inference.report import OptimizationReport, Step

__all__ = ["OptimizationReport", "Optimized", "Step", "optimize"]
