"""Find the verb, run it, and turn what goes wrong into one sentence and an exit code.

0 done, 1 failed, 2 usage, 3 partly failed, 130 interrupted. Imports nothing heavy: `corinth --help` loads no torch.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from corinth import __version__
from corinth.errors import CorinthError, UsageError

VERBS = {  # name -> (module, one line)
    "list": ("listing", "the architectures, with parameters, multiply-adds and papers"),
    "show": ("showing", "one architecture: its card, its layers with shapes and receptive fields, its recipe"),
    "train": ("training", "train one architecture on your data"),
    "evaluate": ("evaluating", "score a trained run, or a foreign checkpoint, on data"),
    "predict": ("predicting", "what a trained run says of images, texts or time series"),
    "generate": ("generating", "text that a trained language model writes"),
    "convert": ("converting", "a checkpoint into Corinth's own form, or out into torchvision's or timm's"),
    "compare": ("comparing", "several architectures, one budget, several seeds: an honest leaderboard"),
    "gradients": ("gradients", "how far back in time recurrent networks learn from, with a plot"),
    "doctor": ("doctor", "check this machine, your data, and what a training would cost"),
    "completion": ("completion", "print the shell's completion script (bash, zsh, fish)"),
}
HELP = ("-h", "--help", "help")
EXAMPLES = """\
examples:
  corinth compare --data digits --models cnn,lenet5,resnet20_cifar10 --budget 20ep --seeds 3
  corinth train --data photos/ --model resnet18 --epochs 30
  corinth evaluate runs/<date>-resnet18-photos
  corinth predict runs/<date>-resnet18-photos new/*.jpg --format csv
  source <(corinth completion bash)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    if debug:
        args.remove("--debug")
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        if debug:
            raise
        return _fail("interrupted", 130)
    except CorinthError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except (OSError, MemoryError) as error:
        if debug:
            raise
        return _fail(_system_reason(error), 1)


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in HELP:
        about = [word for word in args if word not in HELP]
        if not about:
            print(help_text())
            return 0
        args = [about[0], "--help"]
    if args[0] in ("-V", "--version"):
        print(f"corinth {__version__}")
        return 0
    verb, *rest = args
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        what = "option" if verb.startswith("-") else "command"
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(VERBS)}"
        raise UsageError(f"there is no {what} {verb!r}; {hint}")
    from corinth.cli.parsing import HelpShown

    try:
        return importlib.import_module(f"corinth.cli.{VERBS[verb][0]}").main(rest)
    except HelpShown:
        return 0


def help_text() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in VERBS.items())
    return (
        "usage: corinth VERB [OPTIONS]\n\n"
        "Train and compare the classic deep-learning architectures on your own data.\n\n"
        f"verbs:\n{verbs}\n\n"
        "options:\n"
        "  -h, --help     this; after a verb, what the verb takes\n"
        "  -V, --version  the version\n"
        "  --debug        with any verb: a traceback where something fails\n\n"
        f"{EXAMPLES}\n"
        "exit codes: 0 done, 1 failed, 2 usage, 3 partly failed, 130 interrupted (after saving)"
    )


def _fail(sentence: str, code: int) -> int:
    print(f"corinth: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def _system_reason(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; a smaller --batch-size or --img-size needs less"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
