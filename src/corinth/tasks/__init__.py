"""Tasks: networks, losses, metrics and whose turn it is."""

from corinth.tasks.classification import ImageClassification, balanced_weights
from corinth.tasks.detection import ObjectDetection
from corinth.tasks.task import Batch, Phase, Predictions, Task, Term

__all__ = [
    "Batch",
    "ImageClassification",
    "ObjectDetection",
    "Phase",
    "Predictions",
    "Task",
    "Term",
    "balanced_weights",
]
