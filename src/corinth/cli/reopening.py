"""How the data of a trained run, or others like them, are opened again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corinth.predictor import Predictor
    from corinth.training.recipe import Recipe


def how_again(recipe: "Recipe | None", predictor: "Predictor", spec: str) -> dict[str, Any]:
    """Options of `open_data`: what the network does, and the rate at which it hears recordings; of a run its splits, so
    that its test part is found again, and of tables like the run's the columns."""
    from corinth.data.opening import AHEAD, OPTIONS
    from corinth.data.sequences.steps import STEP_COLUMNS
    from corinth.data.tables import TABLE_SUFFIXES

    always = {"task": predictor.task, "audio_rate": getattr(predictor.preprocess, "audio_rate", None)}
    if recipe is None:
        return always
    known = OPTIONS if spec == recipe.data else ("split_seed", "val_share", "test_share", "transcript_units")
    how: dict[str, Any] = {name: getattr(recipe, name) for name in known}
    if spec != recipe.data and recipe.group_column is not None and Path(spec).suffix.lower() in TABLE_SUFFIXES:
        how |= {name: getattr(recipe, name) for name in (*STEP_COLUMNS, "label_column")}
        how["channel_columns"] = ",".join(predictor.preprocess.channel_names)
    if recipe.horizon is not None:  # the same windows
        how |= {name: getattr(recipe, name) for name in (*AHEAD, "group_column", "time_column")}
        named = predictor.preprocess
        how |= {"channel_columns": ",".join(named.channel_names), "target_column": ",".join(named.target_names)}
    if predictor.task == "tabular-regression":
        how |= {"target_column": recipe.target_column}
    return how | always
