"""`corinth completion`: a script with which a shell completes verbs, options, architectures and built-in data."""

import importlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from corinth.cli.app import VERBS
from corinth.cli.parsing import flags, parse

MODEL_FLAGS = ("--model", "--models", "--arch")
DATA_FLAG = "--data"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print a completion script.

    bash: `source <(corinth completion bash)` in ~/.bashrc; zsh: write it to a file `_corinth` on $fpath;
    fish: write it to ~/.config/fish/completions/corinth.fish.
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")]
    """bash | zsh | fish."""


def main(args: Sequence[str]) -> int:
    shell = parse(Options, "completion", args).shell
    from corinth.data.builtin import BUILTINS
    from corinth.registry import list_models

    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    print(write(verb_flags(), list_models(), list(BUILTINS)))
    return 0


def verb_flags() -> dict[str, list[str]]:
    """Each verb's flags, from the dataclass it parses."""
    modules = {verb: importlib.import_module(f"corinth.cli.{module}") for verb, (module, _) in VERBS.items()}
    return {verb: [*flags(module.Options), "--help", "--debug"] for verb, module in modules.items()}


def _cases(options: Mapping[str, Sequence[str]], line: str) -> str:
    return "\n".join(f"    {verb}) {line.format(' '.join(words))} ;;" for verb, words in options.items())


def _bash(options: Mapping[str, Sequence[str]], models: Sequence[str], data: Sequence[str]) -> str:
    return f"""\
_corinth() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" verb="${{COMP_WORDS[1]}}"
  local models="{" ".join(models)}" words="" head=""
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "{" ".join(VERBS)} --help --version" -- "$cur")); return
  fi
  case "$prev" in
    {"|".join(MODEL_FLAGS)}) [[ "$cur" == *,* ]] && head="${{cur%,*}},"
      COMPREPLY=($(compgen -P "$head" -W "$models" -- "${{cur##*,}}")); return ;;
    {DATA_FLAG}) COMPREPLY=($(compgen -f -W "{" ".join(data)}" -- "$cur")); return ;;
  esac
  case "$verb" in
{_cases(options, 'words="{}"')}
  esac
  if [[ "$cur" == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  elif [[ "$verb" == show ]]; then
    COMPREPLY=($(compgen -W "$models" -- "$cur"))
  elif [[ "$verb" == convert ]]; then
    COMPREPLY=($(compgen -f -W "$models" -- "$cur"))
  elif [[ "$verb" == completion ]]; then
    COMPREPLY=($(compgen -W "bash zsh fish" -- "$cur"))
  fi
}}
complete -o default -F _corinth corinth"""


def _zsh(options: Mapping[str, Sequence[str]], models: Sequence[str], data: Sequence[str]) -> str:
    offered = (f"{verb}:{line.replace(':', ';')}" for verb, (_, line) in VERBS.items())
    described = "\n".join(f"    {shlex.quote(line)}" for line in offered)
    return f"""\
#compdef corinth
_corinth() {{
  local -a verbs models options
  verbs=(
{described}
  )
  models=({" ".join(models)})
  if (( CURRENT == 2 )); then _describe verb verbs; return; fi
  case "$words[CURRENT-1]" in
    {"|".join(MODEL_FLAGS)}) compset -P '*,'; compadd -- $models; return ;;
    {DATA_FLAG}) compadd -- {" ".join(data)}; _files; return ;;
  esac
  case "$words[2]" in
{_cases(options, "options=({})")}
  esac
  if [[ "$words[CURRENT]" == -* ]]; then compadd -- $options
  elif [[ "$words[2]" == show ]]; then compadd -- $models
  elif [[ "$words[2]" == convert ]]; then compadd -- $models; _files
  elif [[ "$words[2]" == completion ]]; then compadd bash zsh fish
  else _files; fi
}}
if [[ "$funcstack[1]" == _corinth ]]; then _corinth "$@"; else compdef _corinth corinth; fi"""


def _fish(options: Mapping[str, Sequence[str]], models: Sequence[str], data: Sequence[str]) -> str:
    values = dict.fromkeys(MODEL_FLAGS, " -x -a '(__corinth_models)'") | {DATA_FLAG: f" -r -a '{' '.join(data)}'"}
    lines = [
        "function __corinth_models",  # in a list with commas what is typed up to the last one goes before every name
        "  set -l before (commandline -ct | string replace -r '[^,]*$' '')",
        f"  printf '%s\\n' $before{{{','.join(models)}}}",
        "end",
    ]
    for verb, (_, text) in VERBS.items():
        said = text.replace("'", "\\'")
        lines.append(f"complete -c corinth -n __fish_use_subcommand -f -a {verb} -d '{said}'")
    for verb, words in options.items():
        for word in words:
            name = word.removeprefix("--")
            lines.append(f"complete -c corinth -n '__fish_seen_subcommand_from {verb}' -l {name}{values.get(word, '')}")
    lines.append(f"complete -c corinth -n '__fish_seen_subcommand_from show' -f -a '{' '.join(models)}'")
    lines.append(f"complete -c corinth -n '__fish_seen_subcommand_from convert' -a '{' '.join(models)}'")
    lines.append("complete -c corinth -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'")
    return "\n".join(lines)
