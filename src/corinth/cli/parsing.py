"""From a command line to a dataclass: tyro reads it, and what it refuses becomes one sentence."""

import contextlib
import dataclasses
import difflib
import io
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from corinth.errors import UsageError

T = TypeVar("T")


class HelpShown(Exception):
    """`--help` was printed; the verb has nothing left to do."""


def parse(options: type[T], verb: str, args: Sequence[str], *, default: T | None = None, pairs: bool = False) -> T:
    """Fill the dataclass `options` from `args`; help goes to stdout and ends in `HelpShown`.

    `pairs`: every switch comes with its opposite, for dataclasses whose defaults change.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            values, unknown = tyro.cli(
                options,
                prog=f"corinth {verb}",
                args=list(args),
                return_unknown_args=True,
                config=() if pairs else (tyro.conf.FlagCreatePairsOff,),
                default=tyro.MISSING_NONPROP if default is None else default,
            )
    except SystemExit as stop:
        if not stop.code:
            raise HelpShown from None
        raise UsageError(f"{_sentence(complaint.getvalue())} (corinth {verb} --help)") from None
    if unknown:
        raise UsageError(_unknown(unknown, flags(options), verb))
    return values


def flags(options: Any, prefix: str = "") -> list[str]:
    """Every flag of a dataclass, nested ones with their prefix, as tyro names them; positional arguments left out."""
    found = []
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        marks = getattr(hint, "__metadata__", ())
        if tyro.conf.Positional in marks or tyro.conf.Suppress in marks:
            continue
        own_name = next((mark.name for mark in marks if getattr(mark, "name", None)), name)
        aliases = [alias for mark in marks for alias in getattr(mark, "aliases", None) or ()]
        inner = hint.__origin__ if marks else hint
        flag = prefix + own_name.replace("_", "-")
        found += flags(inner, f"{flag}.") if dataclasses.is_dataclass(inner) else [f"--{flag}", *aliases]
    return found


def assignments(items: Iterable[str], flag: str = "--set") -> dict[str, Any]:
    """`["drop_rate=0.2", "cfg.act=relu"]` as a mapping; values are numbers, true, false, none or text."""
    found: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{flag} {item!r} is not NAME=VALUE")
        found[key.strip()] = value_of(text.strip())
    return found


def class_names(text: str | None) -> tuple[str, ...] | None:
    """Names with commas between, or those of a file, one a line."""
    if text is None:
        return None
    if not (file := Path(text)).is_file():
        return tuple(text.split(","))
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise UsageError(f"the class names in {file} cannot be read: {error}") from error


def value_of(text: str) -> Any:
    """A number, true, false, none, a comma-separated tuple of these, or text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    if "," in text:
        return tuple(value_of(part.strip()) for part in text.split(",") if part.strip())
    return text


def _unknown(unknown: Sequence[str], known: Sequence[str], verb: str) -> str:
    word = next((w for w in unknown if w.startswith("-")), None)
    if word is None:
        return f"corinth {verb} does not know what to do with {unknown[0]!r} (corinth {verb} --help)"
    name = word.partition("=")[0].replace("_", "-")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"corinth {verb} --help lists them"
    return f"corinth {verb} has no option {name}; {hint}"


def _sentence(box: str) -> str:
    """The message inside tyro's framed error text."""
    lines = [line.strip("│╭╮╰╯| ").strip() for line in box.splitlines()]
    body: list[str] = []
    for line in lines[1:]:  # the first is the frame with its title
        if not line or set(line) <= {"─", "-"} or line.startswith(("For full helptext", "Argument helptext")):
            if body:
                break
            continue
        body.append(line)
    text = " ".join(body).strip().rstrip(".") or "the options are not understood"
    if match := re.match(r"Missing from (corinth \w+): (\S+)", text):
        return f"{match[1]} needs {match[2]}"
    if match := re.match(
        r"Error parsing (--?\S+?):? .*?(\{.*\}|[A-Z|{}a-z]+) could be instantiated from \['(.*)'\]", text
    ):
        return f"{match[1]} cannot be {match[3]!r}; it takes {match[2]}"
    if match := re.match(r"Error parsing (--?\S+): (?:invalid literal|could not convert).*?: '(.*)'$", text):
        return f"{match[1]} cannot be {match[2]!r}; it takes a number"
    text = re.sub(r"^Error parsing \w+: ", "", text)  # a dataclass refused its values: its own sentence follows
    return text[0].lower() + text[1:] if text[:2].istitle() else text
