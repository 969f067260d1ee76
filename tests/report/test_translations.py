"""Translations on a page: the drawing of attention, and which sentences are typical."""

import re

import numpy as np
import pytest

from corinth.report.translations import heatmap, typical


def test_a_drawing_has_a_cell_for_every_pair_of_tokens_and_its_weight() -> None:
    weights = np.array([[0.75, 0.25, 0.0], [0.0, 0.1, 0.9]])
    drawn = str(heatmap(weights, ["▁a", "▁dog", "end"], ["▁ein", "▁Hund"]))
    shades = [float(value) for value in re.findall(r'fill-opacity="([0-9.]+)"', drawn)]
    assert shades == pytest.approx([0.75, 0.25, 0.04, 0.04, 0.1, 0.9])
    assert "▁Hund looks at end: 90%" in drawn
    assert "fill=" not in drawn.replace("fill-opacity", ""), "its colours are the page's"


def test_tokens_in_a_drawing_are_no_markup() -> None:
    drawn = str(heatmap(np.ones((1, 1)), ["<b>"], ['"&<script>']))
    assert "<b>" not in drawn
    assert "<script>" not in drawn
    assert "&lt;b&gt;" in drawn


def test_typical_are_those_in_the_middle() -> None:
    scores = np.array([0.9, 0.1, 0.5, 0.3, 0.7])
    assert typical(scores, 3).tolist() == [3, 2, 4]
    assert typical(scores, 9).tolist() == [1, 3, 2, 4, 0]
