"""Stage 1: the vision tower learns to see, with a dense head that is thrown away afterwards.

usage: torchrun --nproc-per-node 2 vision.py SCRATCH_FOLDER [--warm CHECKPOINT] [--steps 2400] [--seconds 1500]
2,400 steps take about 14 CPU minutes on each of two cores. Goes on from its last state where it was stopped. The last
line says how well the tower sees each class: go on to stage 2 only where that is above 0.9.
"""
import argparse
import os
import queue
import threading
import time

import numpy as np
import torch
from transformers import SiglipVisionModel

from data import CLASSES, Split
from model import (GRID, DenseHead, Optimizer, dense_loss, join_processes, load_tower, rate_at, share_gradients, start_tower,
                   tower_of, vision_config)


def overlap(a, b):
    top, left = torch.maximum(a[..., 0], b[..., 0]), torch.maximum(a[..., 1], b[..., 1])
    bottom, right = torch.minimum(a[..., 2], b[..., 2]), torch.minimum(a[..., 3], b[..., 3])
    both = (bottom - top).clamp(0) * (right - left).clamp(0)
    area = lambda x: (x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1])
    return both / (area(a) + area(b) - both + 1e-9)


def evaluate(forward, split):
    """F1 at a logit of zero, and overlap of the boxes, by kind and class."""
    scores, present, overlaps = [], [], []
    kinds = np.array([row["kind"] for row in split.rows])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for first in range(0, len(split), 50):
            values, _, boxes, _ = split.batch(range(first, min(first + 50, len(split))), GRID)
            seen, box = forward(values)
            best = seen.float().argmax(1)
            box = box.float().sigmoid().gather(1, best[:, None, :, None].expand(-1, 1, -1, 4))[:, 0]
            scores.append(seen.float().amax(1)), present.append(boxes.sum(-1) > 0), overlaps.append(overlap(box, boxes))
    scores, present, overlaps = (torch.cat(x).numpy() for x in (scores, present, overlaps))
    for kind, count in (("xray", 9), ("ct", 5)):
        rows, line = kinds == kind, []
        for c in range(count):
            said, true = scores[rows, c] > 0, present[rows, c]
            f1 = 2 * (said & true).sum() / max(1, said.sum() + true.sum())
            line.append((CLASSES[c][:8], round(float(f1), 3), round(float(overlaps[rows, c][true].mean()), 3)))
        print("  ", kind, "macro-F1", round(float(np.mean([x[1] for x in line])), 3), line, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="wall time after which the schedule has ended")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--warm", help="checkpoint whose tower to begin from, at half the rate")
    a = parser.parse_args()
    rank, world = join_processes()
    torch.manual_seed(0)
    rng = np.random.default_rng(rank)
    train, val = Split(a.folder, "train"), Split(a.folder, "val")
    model, head = SiglipVisionModel(vision_config()), DenseHead(192)
    start_tower(model.vision_model if hasattr(model, "vision_model") else model)
    if a.warm:
        load_tower(model, tower_of(a.warm))
    rate = 0.5 if a.warm else 1.0
    optimizer = Optimizer([(list(model.named_parameters()) + list(head.named_parameters()), rate * 3e-3, rate * 1e-3)])
    path, step, spent = os.path.join(a.folder, "vision.pt"), 0, 0.0
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"]), head.load_state_dict(state["head"]), optimizer.load(state["optimizer"])
        step, spent = state["step"], state["spent"]
        rng = np.random.default_rng(step * world + rank)
    if rank == 0:
        print(len(train), "pictures to learn from,", len(val), "to check; from step", step, flush=True)
    # Each process draws its own share of every batch.
    batches, share = queue.Queue(4), a.batch // world

    def feed():
        while True:
            order = train.draw(rng, 400 * share)
            for first in range(0, len(order), share):
                batches.put(train.batch(order[first : first + share], GRID, rng))
            train.refresh()

    threading.Thread(target=feed, daemon=True).start()
    forward = lambda values: head(model(pixel_values=values).last_hidden_state)

    def save():
        if rank > 0:
            return
        torch.save({"model": model.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state(), "step": step,
                    "spent": spent}, path + ".partial")
        os.replace(path + ".partial", path)

    since, sums = time.time(), np.zeros(3)
    while step < a.steps and spent < a.seconds:
        values, masks, boxes, _ = batches.get()
        with torch.autocast("cpu", torch.bfloat16):
            seen, box = forward(values)
        losses = dense_loss(seen, box, masks, boxes)
        optimizer.zero()
        (losses[0] + 0.7 * losses[1] + 0.5 * losses[2]).backward()
        spent = share_gradients(optimizer.parameters, spent + time.time() - since)
        since = time.time()
        optimizer.step(rate_at(max(step / a.steps, spent / a.seconds), (step + 1) / 150))
        step += 1
        sums += [loss.item() for loss in losses]
        if rank == 0 and step % 100 == 0:
            print(f"step {step} {spent:.0f} s cpu {time.process_time():.0f} s of {len(train)} mask {sums[0]/100:.3f} "
                  f"box {sums[1]/100:.3f} presence {sums[2]/100:.3f}", flush=True)
        if step % 100 == 0:
            sums[:] = 0
        if step % 300 == 0:
            save()
        if rank == 0 and (step in (300, 900) or step % 1500 == 0 or step == a.steps or spent >= a.seconds):
            model.eval()
            evaluate(forward, val)
            model.train()
            since = time.time()
    save()


if __name__ == "__main__":
    main()
