"""A trained network as its user meets it: images in, named classes out, scored the same way everywhere."""

from corinth.predictor.evaluation import ClassScore, Evaluation, Evaluator
from corinth.predictor.predictor import Prediction, Predictor, load_run

__all__ = ["ClassScore", "Evaluation", "Evaluator", "Prediction", "Predictor", "load_run"]
