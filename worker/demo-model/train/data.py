"""Phantoms drawn by `prelim training-pixels`, kept as arrays: pictures, labels and coarse masks.

usage: python data.py PRELIM_BINARY SCRATCH_FOLDER [SPLIT...]
Without a split, all but those for questions are drawn (about 20 CPU minutes); run again to go on where it stopped.
"""
import json
import os
import subprocess
import sys

import numpy as np
import torch
from safetensors import safe_open

CLASSES = ["pleural_effusion", "pneumothorax", "consolidation", "nodule", "mass", "cardiomegaly",
           "interstitial_edema", "pacemaker", "endotracheal_tube"]
INDEX = {name: at for at, name in enumerate(CLASSES)}
SEEDS = {"train": 101, "val": 202, "test": 303, "asked": 404, "asked-test": 505}
# (split, modality, studies, studies in a chunk)
PLAN = [("val", "dx", 500, 500), ("val", "ct", 50, 50), ("test", "dx", 600, 600), ("test", "ct", 60, 60)]
PLAN += [("train", "dx", 18000, 750), ("train", "ct", 2400, 50)]
# For questions: none of these did the model itself learn from.
PLAN += [("asked-test", "dx", 600, 600), ("asked-test", "ct", 60, 60), ("asked", "dx", 7500, 750), ("asked", "ct", 800, 50)]
FOR_READING = ("val", "train", "test")
SLICES = 12
# How often a slice is learnt from, by the rarest thing that it shows.
RARE = {"ct": {"nodule": 4.0, "mass": 2.0, "normal": 0.7}}
CHECKPOINT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "checkpoint")


def chunks(splits):
    """Names of the files of some splits, in the order in which they are drawn: radiographs and CT in turn."""
    rows = []
    for name, modality, studies, size in PLAN:
        if name in splits:
            for chunk, first in enumerate(range(0, studies, size)):
                turn = [*FOR_READING, "asked-test", "asked"].index(name)
                rows.append((turn, chunk, modality, first, min(size, studies - first), name))
    rows.sort()
    return [(f"{name}-{modality}-{first:06}", name, modality, first, count) for _, _, modality, first, count, name in rows]


def draw(binary, folder, splits):
    data = os.path.join(folder, "data")
    os.makedirs(data, exist_ok=True)
    for stem, split, modality, first, count in chunks(splits):
        out = os.path.join(data, stem + ".safetensors")
        if os.path.exists(out):
            continue
        studies = os.path.join(folder, "studies-" + stem)
        subprocess.run([binary, "training-pixels", "--model", CHECKPOINT, "--draw", str(SEEDS[split]), "--first", str(first),
                        "--count", str(count), "--modality", modality, "--slices", str(SLICES), "-o", out, studies], check=True)
        print(stem, flush=True)


def quantize(value):
    """A fraction in steps of ten thousandths of the picture, as the model writes it: 0 to 990."""
    return int(min(99, max(0, round(value * 100)))) * 10


def target(findings):
    """The answer that the model learns: compact JSON, keys and findings in a fixed order."""
    out = []
    for finding in sorted(findings, key=lambda f: INDEX[f["finding"]]):
        entry = {"finding": finding["finding"]}
        for key in ("side", "zone", "severity"):
            if finding.get(key):
                entry[key] = finding[key]
        entry["box"] = [quantize(edge) for edge in finding["box"]]
        out.append(entry)
    return json.dumps({"findings": out}, separators=(",", ":"))


class Split:
    """All pictures of a split that are drawn so far, in memory."""

    def __init__(self, folder, split, kinds=("dx", "ct")):
        self.folder, self.split, self.kinds = folder, split, kinds
        self.pictures, self.rows, self.seen = [], [], set()
        self.refresh()

    def refresh(self):
        """Takes in what was drawn since."""
        for stem, _, modality, _, _ in chunks([self.split]):
            path = os.path.join(self.folder, "data", stem)
            if modality not in self.kinds or stem in self.seen or not os.path.exists(path + ".safetensors"):
                continue
            self.seen.add(stem)
            with safe_open(path + ".safetensors", "pt") as file:
                pixels = file.get_tensor("pixels")
            # A radiograph's three channels are one: keep one.
            self.pictures += list(pixels[:, :1].clone() if modality == "dx" else pixels)
            for line in open(path + ".jsonl"):
                row = json.loads(line)
                row["target"] = target(row["findings"])
                row["masks"] = {INDEX[f["finding"]]: f.pop("mask") for f in row["findings"]}
                self.rows.append(row)
        assert len(self.pictures) == len(self.rows)

    def __len__(self):
        return len(self.rows)

    def draw(self, rng, count):
        """Indices for learning, what is rare among slices more often."""
        weights = np.array([RARE.get(row["kind"], {}).get("normal", 1.0) if not row["findings"] else
                            max(RARE.get(row["kind"], {}).get(f["finding"], 1.0) for f in row["findings"])
                            for row in self.rows])
        return rng.choice(len(weights), count, p=weights / weights.sum())

    def view(self, index, rng=None):
        """Picture, findings and masks [24, 24] by class; with `rng`, a slice is mirrored and moved."""
        picture, row = self.pictures[index], self.rows[index]
        findings, masks = row["findings"], {}
        for at, digits in row["masks"].items():
            digits = np.frombuffer(digits.encode(), np.uint8)
            masks[at] = (np.where(digits >= 97, digits - 87, digits - 48) / np.float32(15)).reshape(24, 24)
        if rng is None or row["kind"] != "ct":
            return picture, findings, masks
        if rng.random() < 0.5:
            picture, masks = picture.flip(2), {at: mask[:, ::-1] for at, mask in masks.items()}
            other = {"left": "right", "right": "left"}
            findings = [f | {"side": other.get(f["side"], f["side"]), "box": [f["box"][0], 1 - f["box"][3], f["box"][2], 1 - f["box"][1]]}
                        for f in findings]
        # By whole cells of the masks; beyond the edge of a slice is air.
        down, right = (int(x) for x in rng.integers(-2, 3, 2))
        moved = [[edge + (down, right)[k % 2] / 24 for k, edge in enumerate(f["box"])] for f in findings]
        if all(0 <= edge <= 1 for box in moved for edge in box):
            step = picture.shape[1] // 24
            picture = shifted(picture, (down * step, right * step))
            masks = {at: shifted(torch.from_numpy(np.ascontiguousarray(mask))[None], (down, right))[0].numpy() for at, mask in masks.items()}
            findings = [f | {"box": box} for f, box in zip(findings, moved)]
        return picture, findings, masks

    def batch(self, indices, grid, rng=None):
        """Pixel values [n, 3, s, s], masks [n, 9, grid, grid] and boxes [n, 9, 4] of some pictures, and their answers."""
        views = [self.view(i, rng) for i in indices]
        values = torch.stack([picture.expand(3, -1, -1) for picture, _, _ in views]).float().sub_(127.5).div_(127.5)
        masks = np.zeros((len(indices), len(CLASSES), 24, 24), np.float32)
        boxes = torch.zeros(len(indices), len(CLASSES), 4)
        for k, (_, findings, own) in enumerate(views):
            for at, mask in own.items():
                masks[k, at] = mask
            for finding in findings:
                boxes[k, INDEX[finding["finding"]]] = torch.tensor(finding["box"])
        step = 24 // grid
        masks = torch.from_numpy(masks).unflatten(2, (grid, step)).unflatten(4, (grid, step)).mean((3, 5))
        return values, masks, boxes, [target(findings) for _, findings, _ in views]


def shifted(picture, by):
    """[c, h, w] moved down and right; what comes in is zero."""
    out = torch.zeros_like(picture)
    (to_y, from_y), (to_x, from_x) = ((slice(max(0, d), n + min(0, d)), slice(max(0, -d), n + min(0, -d)))
                                      for d, n in zip(by, picture.shape[1:]))
    out[:, to_y, to_x] = picture[:, from_y, from_x]
    return out


if __name__ == "__main__":
    draw(sys.argv[1], sys.argv[2], sys.argv[3:] or FOR_READING)
