"""What a network is made of and what it costs: parameters, multiply-adds, layers, stages, latency, memory."""

from corinth.inspect.counts import count_macs, count_params
from corinth.inspect.gradients import GradientProfile, gradients_by_step
from corinth.inspect.layers import LayerRow, layers
from corinth.inspect.memory import PeakMemory, peak_memory, resident_memory
from corinth.inspect.speed import Latency, latency
from corinth.inspect.stages import Stage, stages

__all__ = [
    "GradientProfile",
    "Latency",
    "LayerRow",
    "PeakMemory",
    "Stage",
    "count_macs",
    "count_params",
    "gradients_by_step",
    "latency",
    "layers",
    "peak_memory",
    "resident_memory",
    "stages",
]
