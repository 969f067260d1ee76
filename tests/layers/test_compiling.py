"""How the kernels in C++ are compiled and kept, and what is said where they are not: each in a process of its own."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from corinth.layers import native

pytestmark = pytest.mark.skipif(not native.is_there(), reason="needs a C++ compiler")


def fresh(cache: Path, code: str, **environment: str) -> str:
    """What another process prints that has its own cache."""
    own = {"CORINTH_CACHE": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), **environment}
    script = f"import warnings; warnings.simplefilter('error')\nfrom corinth.layers import native\n{code}"
    found = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_compiled_once_and_kept(tmp_path: Path) -> None:
    assert fresh(tmp_path, "print(native.is_there())") == "True"
    (kept,) = (tmp_path / "native").glob("*.so")
    quick = "import sys; print(native.is_there(), 'torch._inductor.codecache' in sys.modules)"
    assert fresh(tmp_path, quick, CXX="/nowhere/g++") == "True False"
    made = set((tmp_path / "inductor").rglob("*.so"))
    other = "native._processor = lambda: 'another'\nprint(native.is_there())"
    assert fresh(tmp_path, other) == "True"
    assert len(list((tmp_path / "native").glob("*.so"))) == 2
    assert set((tmp_path / "inductor").rglob("*.so")) > made, "torch's cache does not ask for the processor"
    kept.write_bytes(b"not a library")
    assert fresh(tmp_path, "print(native.is_there())") == "True"
    assert len(kept.read_bytes()) > 10_000


def test_without_a_compiler_or_unwanted(tmp_path: Path) -> None:
    said = fresh(tmp_path, "print(native.is_there(), native.described())", CXX="/nowhere/g++")
    assert said.startswith("False absent, so that networks run slower: no C++ compiler was found")
    said = fresh(tmp_path, "print(native.is_there(), native.described())", CORINTH_NATIVE="0")
    assert said == "False absent, so that networks run slower: CORINTH_NATIVE is 0"


def test_a_compiler_that_fails_is_said_once(tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo "g++ 12"; exit 0; }\necho "omp.h: error: no such file" >&2; exit 1\n'
    )
    broken.chmod(0o755)
    code = (
        "warnings.simplefilter('always')\nwith warnings.catch_warnings(record=True) as caught:\n"
        "    print(native.is_there(), native.is_there())\nprint(len(caught), caught[0].message)"
    )
    answer, said = fresh(tmp_path, code, CXX=str(broken)).splitlines()
    assert answer == "False False"
    assert said.startswith("1 kernels for networks on this processor are missing: ")
    assert "omp.h: error: no such file" in said
    assert "CORINTH_NATIVE=0" in said
    code = "try:\n    native.is_there()\nexcept UserWarning:\n    print(native.is_there())"
    assert fresh(tmp_path, code, CXX=str(broken)) == "False"


def test_a_cache_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with warnings.catch_warnings():
        assert fresh(tmp_path, "print(native.is_there())", CORINTH_CACHE=str(tmp_path / "file")) == "True"
