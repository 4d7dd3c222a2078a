"""What both stages share: processes side by side, checkpoints to resume from, and the log."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from optimiser import Optimiser, schedule

LOG_EVERY = 100


@dataclass
class Settings:
    """One run of training, as the command line states it."""

    data: Path
    out: Path
    processes: int
    seed: int
    stage1_steps: int
    stage1_batch: int
    stage2_steps: int
    stage2_batch: int
    checkpoint_every: int


def side_by_side(stage: Callable[[Settings, int], None], settings: Settings) -> None:
    """Runs `stage(settings, rank)` in as many processes as asked: two of one thread beat one of two threads."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (stage, settings, f"file://{folder}/rendezvous")
        if settings.processes == 1:
            _enter(0, *arguments)
        else:
            torch.multiprocessing.spawn(_enter, arguments, nprocs=settings.processes)


def _enter(rank: int, stage: Callable[[Settings, int], None], settings: Settings, meeting: str) -> None:
    torch.set_num_threads(1)
    if settings.processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=settings.processes)
    try:
        stage(settings, rank)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def share(indices: list[int], rank: int, processes: int) -> list[int]:
    """This process's part of a batch."""
    return indices[rank::processes]


class Loop:
    """Steps one stage from where it stood to its end.

    `advance(step)` runs forward and backward and returns named losses; `modules` are what a checkpoint holds.
    """

    def __init__(
        self, name: str, settings: Settings, rank: int, steps: int, modules: dict, optimiser: Optimiser
    ):
        self.name, self.settings, self.rank, self.steps = name, settings, rank, steps
        self.modules, self.optimiser = modules, optimiser
        self.path = settings.out / f"{name}.pt"
        self.step = 0
        self._elapsed_before_s = 0.0
        self._began = time.monotonic()
        if self.path.exists():
            self._resume()

    def run(
        self, advance: Callable[[int], dict[str, float]], review: Callable[[int], None], review_at: set[int]
    ) -> None:
        """Trains to the end; `review(step)` runs in the first process after the steps in `review_at`."""
        sums: dict[str, float] = {}
        count = 0
        while self.step < self.steps:
            self.optimiser.zero()
            losses = advance(self.step)
            self.optimiser.step(schedule(self.step, self.steps))
            self.step += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if self.step % LOG_EVERY == 0 or self.step == self.steps:
                self.say(" ".join(f"{name} {value / count:.3f}" for name, value in sums.items()))
                sums, count = {}, 0
            if self.step % self.settings.checkpoint_every == 0 or self.step == self.steps:
                self.save()
            if self.step in review_at and self.rank == 0:
                review(self.step)

    def say(self, text: str) -> None:
        """A line of the log, on stdout and in `{stage}.log`, from the first process only."""
        if self.rank != 0:
            return
        line = f"{self.name} {self.step}/{self.steps} {self._elapsed_s():.0f}s cpu {time.process_time():.0f}s {text}"
        print(line, flush=True)
        with (self.settings.out / f"{self.name}.log").open("a") as log:
            log.write(line + "\n")

    def save(self) -> None:
        """Writes the checkpoint whole or not at all: a run may be killed at any moment."""
        if self.rank != 0:
            return
        content = {name: module.state_dict() for name, module in self.modules.items()}
        content |= {
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "elapsed_s": self._elapsed_s(),
        }
        partial = self.path.with_suffix(".partial")
        torch.save(content, partial)
        os.replace(partial, self.path)

    def _resume(self) -> None:
        saved = torch.load(self.path, weights_only=True)
        if saved["steps"] != self.steps:
            sys.exit(
                f"{self.path} belongs to a run of {saved['steps']} steps, this one has {self.steps}: "
                "remove it or give the same number"
            )
        for name, module in self.modules.items():
            module.load_state_dict(saved[name])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self._elapsed_before_s = saved["step"], saved["elapsed_s"]
        if self.step < self.steps:
            self.say("resumed")

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.monotonic() - self._began


def finished(settings: Settings, name: str, steps: int) -> bool:
    """Whether a stage's checkpoint says that it reached its end."""
    path = settings.out / f"{name}.pt"
    return path.exists() and torch.load(path, weights_only=True, mmap=True)["step"] >= steps


def write_json(path: Path, value: dict) -> None:
    """Indented JSON, for people and programs."""
    path.write_text(json.dumps(value, indent=1) + "\n")
