"""How long `import corinth` and `corinth --help` take, each in a fresh Python process.

Run it on an idle machine: `python benchmarks/import_time.py [--runs 20]`. Every command runs once uncounted (file
cache), then all commands take turns, so that a slow spell of the machine falls on all of them alike. Bare Python,
started the same way, is the floor; torch shows what is not imported.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import corinth": ["-c", "import corinth"],
    "corinth --help": ["-m", "corinth", "--help"],
    "corinth show --help": ["-m", "corinth", "show", "--help"],
    "corinth train --help": ["-m", "corinth", "train", "--help"],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def measure(runs: int) -> dict[str, dict[str, float]]:
    """Per command the median and the quartiles in milliseconds over `runs` processes."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(runs + 1):
        for name, arguments in COMMANDS.items():
            taken = 1000 * seconds(arguments)
            if turn:
                times[name].append(taken)
    found = {}
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        found[name] = {"median_ms": round(middle, 1), "q1_ms": round(low, 1), "q3_ms": round(high, 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.runs)
    if options.json:
        print(json.dumps({"python": platform.python_version(), "runs": options.runs, "times": found}, indent=2))
        return
    print(f"Python {platform.python_version()}, {platform.machine()}, {options.runs} fresh processes each")
    print(f"{'command':<22}{'median':>10}{'quartiles':>20}")
    for name, values in found.items():
        spread = f"{values['q1_ms']:.0f} to {values['q3_ms']:.0f} ms"
        print(f"{name:<22}{values['median_ms']:>7.0f} ms{spread:>20}")


if __name__ == "__main__":
    main()
