"""A trained network as its user meets it: samples in, named classes out, scored the same way everywhere."""

from corinth.predictor.captioning import Captioner
from corinth.predictor.classes import Prediction
from corinth.predictor.classifier import Classifier
from corinth.predictor.evaluation import ClassScore, Evaluation, Evaluator
from corinth.predictor.forecast_scores import ForecastEvaluation
from corinth.predictor.forecasting import Forecaster, ForecastPrediction
from corinth.predictor.frames import FrameClassifier, FrameEvaluation, FramePrediction
from corinth.predictor.language import Generation, LanguageEvaluation, LanguageModel
from corinth.predictor.predictor import (
    Answer,
    DenseAnswer,
    DensePredictor,
    ImagePredictor,
    Predictor,
    Scores,
    load_run,
)
from corinth.predictor.regression import RegressionEvaluation, SequenceRegressor, ValuePrediction
from corinth.predictor.rows import RowClassifier, RowRegressor
from corinth.predictor.sequences import SequenceClassifier
from corinth.predictor.tagging import Tagger
from corinth.predictor.transcription import Transcriber
from corinth.predictor.translation import Translator
from corinth.predictor.writing import LabelWriter

__all__ = [
    "Answer",
    "Captioner",
    "ClassScore",
    "Classifier",
    "DenseAnswer",
    "DensePredictor",
    "Evaluation",
    "Evaluator",
    "ForecastEvaluation",
    "ForecastPrediction",
    "Forecaster",
    "FrameClassifier",
    "FrameEvaluation",
    "FramePrediction",
    "Generation",
    "ImagePredictor",
    "LabelWriter",
    "LanguageEvaluation",
    "LanguageModel",
    "Prediction",
    "Predictor",
    "RegressionEvaluation",
    "RowClassifier",
    "RowRegressor",
    "Scores",
    "SequenceClassifier",
    "SequenceRegressor",
    "Tagger",
    "Transcriber",
    "Translator",
    "ValuePrediction",
    "load_run",
]
