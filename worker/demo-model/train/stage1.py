"""Stage 1: the vision tower learns to see, with the dense head alone.

It shows within minutes whether the tower can tell each class (the gate); a language model trained on a tower that
cannot see nodules never says them.
"""

import torch

from data import BatchPlan, PhantomImages
from dense import DenseHead, DenseLoss, gate
from loop import Loop, Settings, share, side_by_side, write_json
from model import new_tower
from optimiser import Group, Optimiser

MUON_RATE, ADAM_RATE = 2e-3, 1e-3
REVIEWS = 4


def train(settings: Settings) -> None:
    """Trains or resumes the stage; leaves `stage1.pt` and `gate.json` in the run's folder."""
    side_by_side(_train, settings)


def _train(settings: Settings, rank: int) -> None:
    torch.manual_seed(settings.seed)  # the same first weights in every process
    images, held_out = PhantomImages(settings.data, "train"), PhantomImages(settings.data, "val")
    tower, head, loss_of = new_tower(), DenseHead(), DenseLoss()
    named = [*tower.named_parameters(), *head.named_parameters()]
    optimiser = Optimiser([Group(named, MUON_RATE, ADAM_RATE)])
    steps = settings.stage1_steps
    loop = Loop("stage1", settings, rank, steps, {"tower": tower, "head": head}, optimiser)
    plan = BatchPlan(len(images), settings.stage1_batch, settings.seed)

    def advance(step: int) -> dict[str, float]:
        batch = images.batch(share(plan.step(step), rank, settings.processes))
        with torch.autocast("cpu", torch.bfloat16):
            patches = tower(pixel_values=batch.pixels).last_hidden_state
        masks, boxes = head(patches.float())
        total, parts = loss_of(masks, boxes, batch)
        total.backward()
        return dict(zip(("mask", "box", "presence"), parts, strict=True))

    def review(step: int) -> None:
        table = gate(tower, head, held_out)
        write_json(settings.out / "gate.json", {"step": step, **table})
        for mod, row in table.items():
            classes = " ".join(f"{code} {c['f1']}/{c['iou']}" for code, c in row["classes"].items())
            loop.say(f"gate {mod} macro-F1 {row['macro_f1']} (F1/IoU: {classes})")

    loop.run(advance, review, {steps * k // REVIEWS for k in range(1, REVIEWS + 1)})
