"""Tasks: networks, losses, metrics and whose turn it is."""

from corinth.tasks.classification import (
    ImageClassification,
    SequenceClassification,
    TabularClassification,
    balanced_weights,
)
from corinth.tasks.detection import ObjectDetection
from corinth.tasks.forecasting import Forecasting
from corinth.tasks.language import LanguageModeling
from corinth.tasks.regression import SequenceRegression
from corinth.tasks.segmentation import MaskPredictions, SemanticSegmentation
from corinth.tasks.tagging import SequenceTagging
from corinth.tasks.task import Batch, Phase, Predictions, Task, Term
from corinth.tasks.transcription import Transcription
from corinth.tasks.translation import Translation

__all__ = [
    "Batch",
    "Forecasting",
    "ImageClassification",
    "LanguageModeling",
    "MaskPredictions",
    "ObjectDetection",
    "Phase",
    "Predictions",
    "SemanticSegmentation",
    "SequenceClassification",
    "SequenceRegression",
    "SequenceTagging",
    "TabularClassification",
    "Task",
    "Term",
    "Transcription",
    "Translation",
    "balanced_weights",
]
