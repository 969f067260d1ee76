"""Where `corinth predict --draw` puts its pictures: nowhere in the place of anything but older drawings."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corinth.cli.output import note
from corinth.errors import UsageError

if TYPE_CHECKING:
    from corinth.predictor import DenseAnswer, DensePredictor


class Drawings:
    """The folder of the drawings of `images`, made if it is not there; a `UsageError` if it holds other pictures."""

    def __init__(self, folder: Path, images: Sequence[str]) -> None:
        from corinth.predictor.drawing import is_drawing

        try:
            folder.mkdir(parents=True, exist_ok=True)
            pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png")
        except OSError as error:
            raise UsageError(f"--draw {folder} cannot be used ({error.strerror}); name another folder") from error
        here = os.path.realpath(folder)
        for image in filter(os.path.exists, images):
            if here in (os.path.realpath(os.path.dirname(image)), os.path.dirname(os.path.realpath(image))):
                raise UsageError(
                    f"--draw {folder} is the folder of {image}; name another, so that nothing is overwritten"
                )
        if foreign := next((path for path in pictures if not is_drawing(path)), None):
            raise UsageError(
                f"--draw {folder} holds {foreign.name}, which is no drawing of corinth's; name a new folder, so that "
                "nothing is overwritten"
            )
        self.folder = folder
        self.count = 0
        self._taken: set[str] = set()  # file names, as file systems compare them that know no upper case
        self._numbers: dict[str, int] = {}

    def add(self, predictor: "DensePredictor", answer: "DenseAnswer") -> None:
        """Under the image's own name, or, where that is drawn already, with a number behind it, which is said."""
        from corinth.data import read_image

        stem = Path(answer.name).stem
        number = self._numbers.get(stem, 1)
        while True:
            paths = predictor.pictures(self.folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png"))
            number += 1
            names = {path.name.casefold() for path in paths}
            if self._taken.isdisjoint(names):
                break
        self._numbers[stem] = number
        self._taken |= names
        predictor.write(read_image(Path(answer.name)), answer, paths[0])
        if paths[0].stem != stem:
            note(f"{answer.name} is drawn as {paths[0].name}")
        self.count += 1
