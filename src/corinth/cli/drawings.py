"""Where `corinth predict --draw` puts its pictures: nowhere in the place of anything but older drawings."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corinth.cli.output import note
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.predictor import DenseAnswer, DensePredictor


class Drawings:
    """The folder of the drawings of `images`, which were found in `inputs`; made if it is not there.

    A `UsageError` if it holds other pictures, or lies where images are looked for.
    """

    def __init__(self, folder: Path, images: Sequence[str], inputs: Sequence[str]) -> None:
        from corinth.predictor.drawing import is_drawing

        here = os.path.realpath(folder)
        for image in filter(os.path.exists, images):
            if here in (os.path.realpath(os.path.dirname(image)), os.path.dirname(os.path.realpath(image))):
                raise UsageError(
                    f"--draw {folder} is the folder of {image}; name another, so that nothing is overwritten"
                )
        for given in filter(os.path.isdir, inputs):
            if Path(os.path.realpath(given)) in (Path(here), *Path(here).parents):
                raise UsageError(
                    f"--draw {folder} is or lies in {given}, all of whose images are read; name one outside of it, so "
                    "that drawings are not read too"
                )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
        except OSError as error:
            raise UsageError(f"--draw {folder} cannot be used ({error.strerror}); name another folder") from error
        if foreign := next((path for path in pictures if not is_drawing(path)), None):
            raise UsageError(
                f"--draw {folder} holds {foreign.name}, which is no drawing of corinth's; name a new folder, so that "
                "nothing is overwritten"
            )
        self.folder = folder
        self.count = 0
        self._taken: set[str] = set()  # file names, as file systems compare them that are the least exact
        self._numbers: dict[str, int] = {}

    def add(self, predictor: "DensePredictor", answer: "DenseAnswer") -> None:
        """Under the image's own name, or, where that is taken already, with a number behind it, which is said."""
        from corinth.data import read_image
        from corinth.predictor.drawing import is_drawing

        stem = Path(answer.name).stem
        number = self._numbers.get(stem, 1)
        while True:
            paths = predictor.pictures(self.folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png"))
            number += 1
            names = {unicodedata.normalize("NFC", path.name).casefold() for path in paths}
            if self._taken.isdisjoint(names) and all(is_drawing(path) for path in paths if path.exists()):
                break
        self._numbers[stem] = number
        self._taken |= names
        predictor.write(read_image(Path(answer.name)), answer, paths[0])
        if paths[0].stem != stem:
            note(f"{answer.name} is drawn as {paths[0].name}")
        self.count += 1
