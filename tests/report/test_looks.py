"""Each task has its look in reports, and the pages have a neutral value for whatever a look leaves out."""

import re
from importlib.resources import files

from corinth.predictor.predictor import PREDICTORS
from corinth.report.look import NEUTRAL
from corinth.report.looks import LOOKS
from corinth.tasks.kinds import KINDS


def test_every_task_has_a_look() -> None:
    assert set(LOOKS) == set(KINDS) == set(PREDICTORS)


def test_what_answers_look_like_is_shown_of_all_but_classifiers() -> None:
    assert {name for name, look in LOOKS.items() if look.shown is None} == {
        name for name, kind in KINDS.items() if kind.classification
    }


def test_what_a_page_asks_of_some_tasks_only_is_neutral_for_the_others() -> None:
    """`{% if alignments %}` of a task without them must not fail."""
    for page in ("run.html", "compare.html"):
        text = (files("corinth.report") / "templates" / page).read_text()
        asked = set(re.findall(r"\{% if (together|typical|alignments|written) %\}", text))
        assert asked <= set(NEUTRAL)
