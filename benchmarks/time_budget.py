"""How closely a training keeps a budget of seconds, validation and checkpoints included.

    python benchmarks/time_budget.py [--seconds 20 60] [--models lenet5 resnet20_cifar10] [--seeds 3]

The clock is the training's own: it starts before the first step and ends after the last checkpoint.
"""

import argparse
import tempfile
import time

import corinth
from common import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[20, 60])
    parser.add_argument("--models", nargs="+", default=["lenet5", "resnet20_cifar10"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    data = corinth.open_data(args.data)
    print(machine())
    for arch in args.models:
        for seconds in args.seconds:
            spent = []
            for seed in range(args.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    began = time.perf_counter()
                    run = corinth.train(arch=arch, data=data, budget=f"{seconds:g}s", seed=seed, output=f"{folder}/run")
                    whole = time.perf_counter() - began
                spent.append((run.metrics[-1]["seconds"], whole))
            shares = ", ".join(f"{own / seconds:.2%}" for own, _ in spent)
            around = ", ".join(f"{whole - own:.1f}" for own, whole in spent)
            print(f"{arch:18} budget {seconds:g} s: spent {shares} of it; building and saving around it {around} s")


if __name__ == "__main__":
    main()
