"""Weights in and out: our own folders, and foreign checkpoints through invertible key maps."""

from corinth.weights.backbone import load_backbone
from corinth.weights.describing import known_checkpoint, needed_options, other_architecture
from corinth.weights.folder import ModelConfig, load_model, read_config, save_model
from corinth.weights.hub import fetch, hub_id
from corinth.weights.known import KnownCheckpoint
from corinth.weights.layouts import Source, key_maps
from corinth.weights.loading import dump_weights, load_weights
from corinth.weights.origin import origin_of
from corinth.weights.report import LoadReport

__all__ = [
    "KnownCheckpoint",
    "LoadReport",
    "ModelConfig",
    "Source",
    "dump_weights",
    "fetch",
    "hub_id",
    "key_maps",
    "known_checkpoint",
    "load_backbone",
    "load_model",
    "load_weights",
    "needed_options",
    "origin_of",
    "other_architecture",
    "read_config",
    "save_model",
]
