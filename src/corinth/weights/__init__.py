"""Weights in and out: our own folders, and foreign checkpoints through invertible key maps."""

from corinth.weights.folder import ModelConfig, load_model, read_config, save_model
from corinth.weights.loading import Source, dump_weights, key_maps, load_weights
from corinth.weights.plain import KnownCheckpoint, known_checkpoint
from corinth.weights.report import LoadReport

__all__ = [
    "KnownCheckpoint",
    "LoadReport",
    "ModelConfig",
    "Source",
    "dump_weights",
    "key_maps",
    "known_checkpoint",
    "load_model",
    "load_weights",
    "read_config",
    "save_model",
]
