"""One run of a comparison: train, score the test part once, keep what the board needs; and one architecture's cost."""

import dataclasses
import json
import shutil
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corinth.compare.leaderboard import Cost
from corinth.compare.plan import Contender
from corinth.data.dataset import DataSet
from corinth.errors import CorinthError
from corinth.files import replacing, write_json
from corinth.inspect import count_macs, count_params, latency, peak_memory
from corinth.inspect.devices import choose_device
from corinth.inspect.memory import release_memory
from corinth.inspect.speed import intra_op_threads
from corinth.predictor import Evaluation, Predictor, RegressionEvaluation, Scores, load_run
from corinth.tasks.kinds import KINDS
from corinth.training import Recipe, Reporter, Run, train
from corinth.training.run import STATE

PREDICTIONS = "test_predictions.npz"
RESULT = "result.json"
COST = "cost.json"
# Whatever a network cannot do, the others still can: torch raises shape and memory errors as RuntimeError, models and
# optimizers refuse options with ValueError and TypeError.
FAILURES = (CorinthError, RuntimeError, MemoryError, ValueError, TypeError)


class Interrupted(Exception):
    """A training was interrupted, saved, and can go on."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one finished run adds to the board. Times in seconds, memory in bytes."""

    label: str
    seed: int
    score_test: float  # mean over the samples
    metric: float | None = None  # of the test part as a whole, where that is something else, such as mAP
    score_val: float | None
    fit_time: float
    pred_time: float
    samples_seen: int
    peak_memory: int | None  # of the training, above its start; None where a resume or the system hides it


@dataclass(frozen=True)
class Answers:
    """How a run did on the test part, in the order of `index`; `target` is what classifiers and regressors were to say,
    `probs` and `value` what they said."""

    index: np.ndarray  # (N,) positions in the data
    score: np.ndarray  # (N,)
    target: np.ndarray | None = None  # (N,)
    probs: np.ndarray | None = None  # (N, K)
    value: np.ndarray | None = None  # (N,)

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Classes as they are and as they were predicted, both (N,)."""
        assert self.target is not None
        assert self.probs is not None
        return self.target, self.probs.argmax(axis=1)


def run_folder(output: Path, label: str, seed: int) -> Path:
    return output / label / f"seed{seed}"


def finished(output: Path, label: str, seed: int) -> Result | None:
    """The result of a run that has been trained and scored; None if it has yet to be."""
    folder = run_folder(output, label, seed)
    path = folder / RESULT
    if not path.exists() or not (folder / PREDICTIONS).exists():
        return None
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CorinthError(f"{path} cannot be read; delete it and resume") from error


def run(contender: Contender, seed: int, data: DataSet, output: Path, reporter: Reporter | None) -> Result:
    """Train one contender with one seed, or go on where its training stopped, and score the test part.

    Raises `Interrupted` when the training was interrupted (it is saved).
    """
    folder = run_folder(output, contender.label, seed)
    recipe = dataclasses.replace(contender.recipe, seed=seed, output=str(folder))
    fresh = not folder.exists()
    release_memory()
    with peak_memory(choose_device(recipe.device)) as peak:
        trained = _trained(recipe, folder, data, reporter)
    if trained.interrupted:
        raise Interrupted
    start = time.perf_counter()
    with intra_op_threads(recipe.threads):
        predictor = load_run(folder, device=recipe.device)
        evaluation = predictor.evaluate(data, "test", batch_size=recipe.eval_batch_size)
    pred_time = time.perf_counter() - start
    order = np.argsort(evaluation.index, kind="stable")
    with replacing(folder / PREDICTIONS) as temporary, open(temporary, "wb") as file:
        kept: dict[str, Any] = {name: values[order] for name, values in _kept(evaluation).items()}
        np.savez_compressed(file, **kept)
    kind = KINDS[data.task]
    result = Result(
        label=contender.label,
        seed=seed,
        score_test=float(evaluation.per_sample.mean()),
        metric=None if kind.classification else evaluation.score,
        score_val=(trained.best or {}).get(f"val_{kind.metric}"),
        fit_time=trained.metrics[-1]["seconds"],
        pred_time=pred_time,
        samples_seen=trained.metrics[-1]["samples"],
        peak_memory=peak.bytes if fresh else None,
    )
    write_json(folder / RESULT, dataclasses.asdict(result))
    return result


def _kept(evaluation: Scores) -> dict[str, np.ndarray]:
    kept = {"index": evaluation.index, "score": evaluation.per_sample}
    if isinstance(evaluation, Evaluation):
        kept |= {"target": evaluation.targets, "probs": np.asarray(evaluation.probs, dtype=np.float32)}
    elif isinstance(evaluation, RegressionEvaluation):
        kept |= {"target": evaluation.targets, "value": evaluation.predicted}
    return kept


def _trained(recipe: Recipe, folder: Path, data: DataSet, reporter: Reporter | None) -> Run:
    """Train, go on where a training was cut short, or take one that came to its end before it was scored."""
    if (folder / STATE).exists():
        before = Run.open(folder)
        return train(data=data, resume=folder, reporter=reporter) if before.interrupted else before
    if folder.exists():
        shutil.rmtree(folder)  # killed before there was anything to go on with
    return train(recipe, data=data, reporter=reporter)


def answers(output: Path, label: str, seed: int) -> Answers:
    path = run_folder(output, label, seed) / PREDICTIONS
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as saved:
            return Answers(**{name: saved[name] for name in saved.files})
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise CorinthError(f"{path} cannot be read; delete it and resume, so that the run is scored again") from error


def cost(contender: Contender, seed: int, output: Path, *, measure: bool, batch: int) -> Cost:
    """Parameters, multiply-adds and latency of one finished run's network; measured once, then read back."""
    path = output / contender.label / COST
    found = _measured_before(path)
    if found is not None and (not measure or (found.latency_batch_ms is not None and found.batch == batch)):
        return found
    predictor = load_run(run_folder(output, contender.label, seed), device=contender.recipe.device)
    found = _counted(predictor)
    if measure:
        found = _timed(found, predictor, batch=batch, threads=contender.recipe.threads)
    write_json(path, dataclasses.asdict(found))
    return found


def _measured_before(path: Path) -> Cost | None:
    """The cost in `path`; None where there is none that can be used, as it can be measured again."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        size = values.pop("input_size")
        return Cost(**values, input_size=tuple(map(int, size)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _counted(predictor: Predictor) -> Cost:
    model, shape = predictor.model, predictor.preprocess.shape
    shown = shape[1:] if KINDS[predictor.task].unit == "image" else shape
    return Cost(
        params=count_params(model), macs=count_macs(model, shape), input_size=shown, device=str(predictor.device)
    )


def _timed(counted: Cost, predictor: Predictor, *, batch: int, threads: int | None) -> Cost:
    """With what could be measured, and why the rest could not: a batch that does not fit must not cost the board."""
    shape = predictor.preprocess.shape
    found, size = counted, 1
    try:
        one = latency(predictor.model, shape, size, threads)
        found = dataclasses.replace(found, latency_ms=one.median_ms, threads=one.threads)
        size = batch
        many = latency(predictor.model, shape, size, threads)
        return dataclasses.replace(found, latency_batch_ms=many.median_ms, batch=batch)
    except FAILURES as error:
        what = f"batch of {size}" if size > 1 else f"single {KINDS[predictor.task].unit}"
        return dataclasses.replace(found, problem=f"the latency of a {what} was not measured: {reason(error)}")


def reason(error: BaseException) -> str:
    """One sentence about why something failed."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out of memory; a smaller batch_size, img_size or max_len may fit"
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if isinstance(error, CorinthError) else f"{type(error).__name__}: {text}"
