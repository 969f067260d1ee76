"""Every convolutional name is compared with an independent implementation: a new one without fails here.

The tables are those that the comparisons themselves run over; nothing but this library is imported for them.
"""

import corinth
from corinth.registry import configure
from parity.test_fcos import CASES as DETECTORS
from parity.test_peers import CASES as PEERS
from parity.test_twins import COMPARED as TWINS

NAMES = corinth.list_models(family="convolutional")


def test_every_convolutional_name_is_compared_as_it_is_registered() -> None:
    compared = {case.ours for case in PEERS if case.is_registered_form}
    compared |= {name for name, distance in DETECTORS if distance == configure(name).distance}
    compared |= TWINS
    missing = sorted(set(NAMES) - compared)
    assert not missing, f"no outputs and gradients of {', '.join(missing)} are compared: add them to tests/parity"


def test_no_comparison_is_of_a_name_that_is_gone() -> None:
    named = {case.ours for case in PEERS} | {name for name, _ in DETECTORS} | TWINS
    assert named <= set(NAMES)
