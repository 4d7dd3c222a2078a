"""The training-only dense head: what each patch shows, and where that thing's box is.

It gives the tower thousands of targets an image instead of the few dozen tokens of an answer, and tells within
minutes whether the tower can see each class at all. It is thrown away at export.
"""

import torch
import torch.nn.functional as F
from torch import nn

from answers import CLASSES, CLASSES_OF
from data import MASK_GRID, Batch, PhantomImages
from model import PATCH_GRID, VISION_HIDDEN

# A nodule covers one patch in a hundred and a tube is three pixels wide: unweighted, both are never said.
MASK_WEIGHTS = {"nodule": 10.0, "endotracheal_tube": 6.0}
OTHER_MASK_WEIGHT = 3.0
# Boxes are judged by overlap, and an error of a few pixels is half of a nodule.
BOX_WEIGHTS = {"nodule": 3.0, "endotracheal_tube": 1.5, "mass": 1.5, "pacemaker": 1.5}
BOX_SHARE, PRESENCE_SHARE = 0.7, 0.5


def resampling(to: int, of: int) -> torch.Tensor:
    """Area resampling of `of` cells to `to` cells, [to, of]."""
    edges_to = torch.arange(to + 1) / to
    edges_of = torch.arange(of + 1) / of
    low = torch.maximum(edges_to[:-1, None], edges_of[None, :-1])
    high = torch.minimum(edges_to[1:, None], edges_of[None, 1:])
    return (high - low).clamp(min=0) * to


class DenseHead(nn.Module):
    """One linear layer: for each patch and class a mask logit and a box."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(VISION_HIDDEN, len(CLASSES) * 5)
        with torch.no_grad():
            self.linear.bias[: len(CLASSES)] = -3  # most patches show nothing

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask logits [n, 144, 9] and boxes [n, 144, 9, 4] as fractions."""
        out = self.linear(patches).float()
        masks, boxes = out.split([len(CLASSES), 4 * len(CLASSES)], -1)
        return masks, boxes.unflatten(-1, (len(CLASSES), 4)).sigmoid()


class DenseLoss:
    """Mask, box and presence losses of the dense head."""

    def __init__(self) -> None:
        self._mask_weights = torch.tensor([MASK_WEIGHTS.get(code, OTHER_MASK_WEIGHT) for code in CLASSES])
        self._box_weights = torch.tensor([BOX_WEIGHTS.get(code, 1.0) for code in CLASSES])
        self._to_patches = resampling(PATCH_GRID, MASK_GRID)

    def __call__(self, masks: torch.Tensor, boxes: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, list[float]]:
        """The weighted sum, and its three parts for the log."""
        cover = (self._to_patches @ batch.masks @ self._to_patches.T).flatten(2).transpose(1, 2)
        # The root lifts thinly covered patches: a nodule on a corner of four patches is still there in each.
        target = cover.sqrt().clamp(0, 1)
        seen = F.binary_cross_entropy_with_logits(masks, target, reduction="none", pos_weight=self._mask_weights)
        mask_loss = seen.sum(-1).mean()

        responsible = (cover > 0.3).float() + 0.3 * ((cover > 0.03) & (cover <= 0.3)).float()
        distance = (boxes - batch.boxes[:, None]).abs().sum(-1) * responsible
        # By object, not by patch: else effusions own the loss.
        per_object = distance.sum(1) / responsible.sum(1).clamp(min=1)
        box_loss = (per_object * self._box_weights).sum(1).mean()

        present = (batch.boxes.sum(-1) > 0).float()
        presence_loss = F.binary_cross_entropy_with_logits(masks.amax(1), present, reduction="none").sum(-1).mean()
        total = mask_loss + BOX_SHARE * box_loss + PRESENCE_SHARE * presence_loss
        return total, [mask_loss.item(), box_loss.item(), presence_loss.item()]


def overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes [..., 4]."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return shared / (areas - shared + 1e-9)


@torch.no_grad()
def gate(tower: nn.Module, head: DenseHead, images: PhantomImages, batch_images: int = 50) -> dict:
    """What the tower sees, by modality and class: F1 of presence and mean IoU of the box at the surest patch."""
    scores, truths, overlaps = [], [], []
    for start in range(0, len(images), batch_images):
        batch = images.batch(list(range(start, min(start + batch_images, len(images)))))
        with torch.autocast("cpu", torch.bfloat16):
            patches = tower(pixel_values=batch.pixels).last_hidden_state
        masks, boxes = head(patches)
        surest = masks.argmax(1)[:, None, :, None].expand(-1, 1, -1, 4)
        scores.append(masks.amax(1))
        truths.append(batch.boxes.sum(-1) > 0)
        overlaps.append(overlap(boxes.gather(1, surest)[:, 0], batch.boxes))
    score, truth, iou = torch.cat(scores), torch.cat(truths), torch.cat(overlaps)
    table = {}
    for mod, classes in CLASSES_OF.items():
        rows = torch.tensor(images.modality(mod), dtype=torch.long)
        said, there, boxed = score[rows] > 0, truth[rows], iou[rows]
        per_class = {}
        for index, code in enumerate(classes):
            s, t = said[:, index], there[:, index]
            f1 = 2 * (s & t).sum().item() / max(1, (s.sum() + t.sum()).item())
            per_class[code] = {"f1": round(f1, 3), "iou": round(boxed[t, index].mean().item(), 3)}
        macro = sum(row["f1"] for row in per_class.values()) / len(per_class)
        table[mod] = {"macro_f1": round(macro, 3), "classes": per_class}
    return table
