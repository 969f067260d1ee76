"""A trained network as its user meets it: images in, named classes out, scored the same way everywhere."""

from corinth.predictor.classifier import Classifier, Prediction
from corinth.predictor.evaluation import ClassScore, Evaluation, Evaluator
from corinth.predictor.predictor import Answer, DenseAnswer, DensePredictor, Predictor, Scores, load_run

__all__ = [
    "Answer",
    "ClassScore",
    "Classifier",
    "DenseAnswer",
    "DensePredictor",
    "Evaluation",
    "Evaluator",
    "Prediction",
    "Predictor",
    "Scores",
    "load_run",
]
