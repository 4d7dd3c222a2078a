"""Trains the demonstration model from phantom chunks to a checkpoint folder. Run again to resume where it stopped.

    python train.py --data DATA --out RUN --export CHECKPOINT
"""

import os

# Before torch is loaded: one thread a process, and threads that wait without spinning (the cores are shared).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from pathlib import Path

import export
import stage1
import stage2
import tokenizer
from evaluate import evaluate, show
from loop import Settings, finished, write_json

REPOSITORY_CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoint"


def arguments() -> argparse.Namespace:
    """The command line; defaults are the recipe."""
    parser = argparse.ArgumentParser(description="Train the demonstration model.")
    parser.add_argument("--data", type=Path, required=True, help="folder of phantom chunks")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: checkpoints, logs, tokenizer")
    parser.add_argument("--export", type=Path, help="where the checkpoint folder goes (default: OUT/checkpoint)")
    parser.add_argument("--kept-from", type=Path, default=REPOSITORY_CHECKPOINT, help="folder of template and profile")
    parser.add_argument("--processes", type=int, default=2, help="processes of one thread each (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")
    parser.add_argument("--stage1-steps", type=int, default=4500)
    parser.add_argument("--stage1-batch", type=int, default=16)
    parser.add_argument("--stage2-steps", type=int, default=3000)
    parser.add_argument("--stage2-batch", type=int, default=20)
    parser.add_argument("--checkpoint-every", type=int, default=100, help="steps (default: 100)")
    parser.add_argument("--until", choices=["tokenizer", "stage1", "stage2", "export", "evaluate"], default="evaluate")
    return parser.parse_args()


def main() -> None:
    """Runs what is not yet done, in order, up to `--until`."""
    given = arguments()
    settings = Settings(
        data=given.data,
        out=given.out,
        processes=given.processes,
        seed=given.seed,
        stage1_steps=given.stage1_steps,
        stage1_batch=given.stage1_batch,
        stage2_steps=given.stage2_steps,
        stage2_batch=given.stage2_batch,
        checkpoint_every=given.checkpoint_every,
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    folder = given.export or settings.out / "checkpoint"

    def judge() -> None:
        table = evaluate(folder, settings.data, "test")
        show(table)
        write_json(settings.out / "metrics.json", table)

    def train(stage, name: str, steps: int) -> None:
        if not finished(settings, name, steps):
            stage.train(settings)

    parts = {
        "tokenizer": lambda: tokenizer.write(settings.data, settings.out / "tokenizer.json"),
        "stage1": lambda: train(stage1, "stage1", settings.stage1_steps),
        "stage2": lambda: train(stage2, "stage2", settings.stage2_steps),
        "export": lambda: export.export(settings, given.kept_from, folder),
        "evaluate": judge,
    }
    for name, part in parts.items():
        part()
        if name == given.until:
            break


if __name__ == "__main__":
    main()
