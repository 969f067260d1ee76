"""Tasks: networks, losses, metrics and whose turn it is."""

from corinth.tasks.classification import (
    ImageClassification,
    SequenceClassification,
    TabularClassification,
    balanced_weights,
)
from corinth.tasks.detection import ObjectDetection
from corinth.tasks.forecasting import Forecasting
from corinth.tasks.frames import FrameClassification, FramePredictions
from corinth.tasks.language import LanguageModeling
from corinth.tasks.regression import Regression, SequenceRegression, TabularRegression
from corinth.tasks.segmentation import MaskPredictions, SemanticSegmentation
from corinth.tasks.tagging import SequenceTagging
from corinth.tasks.task import Batch, Phase, Predictions, Task, Term
from corinth.tasks.transcription import Transcription
from corinth.tasks.translation import Translation
from corinth.tasks.writing import Captioning, TextFromLabel

__all__ = [
    "Batch",
    "Captioning",
    "Forecasting",
    "FrameClassification",
    "FramePredictions",
    "ImageClassification",
    "LanguageModeling",
    "MaskPredictions",
    "ObjectDetection",
    "Phase",
    "Predictions",
    "Regression",
    "SemanticSegmentation",
    "SequenceClassification",
    "SequenceRegression",
    "SequenceTagging",
    "TabularClassification",
    "TabularRegression",
    "Task",
    "Term",
    "TextFromLabel",
    "Transcription",
    "Translation",
    "balanced_weights",
]
