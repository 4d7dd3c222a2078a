"""Muon on the matrices inside layers, AdamW on the rest, over flat buffers.

All weights, gradients and state of one kind lie in one buffer: the gradients are averaged over processes in one
message, and a step is a few large vector operations, not thousands of small ones.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

NamedParameters = list[tuple[str, nn.Parameter]]

MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.05
CLIP_NORM = 1.0
# Quintic Newton-Schulz coefficients of Muon (Jordan 2024): five rounds bring all singular values near 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_ROUNDS = 5


@dataclass
class Group:
    """Parameters that share learning rates: one for their matrices under Muon, one for what AdamW takes."""

    parameters: NamedParameters
    muon_rate: float
    adam_rate: float


@dataclass
class Segment:
    """A run of the flat buffers under one rule. Muon segments are stacks of equal matrices [count, rows, columns]."""

    muon: bool
    rate: float
    decay: float
    weight: torch.Tensor
    grad: torch.Tensor
    state: list[torch.Tensor]


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices, about, to a stack [count, rows, columns]; in bf16, where CPUs are fast."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-9)).bfloat16()
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_ROUNDS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.transpose(1, 2) if tall else x).float()


class Optimiser:
    """Steps all groups; the processes of a run each orthogonalise their share of the matrices."""

    def __init__(self, groups: list[Group]):
        plan = []
        for group in groups:
            by_shape: dict[tuple, list] = {}
            for name, parameter in group.parameters:
                muon = parameter.ndim == 2 and "layers." in name
                # Norms and biases are neither orthogonalised nor pulled to zero.
                kind = ("muon", *parameter.shape) if muon else ("adam", parameter.ndim > 1)
                by_shape.setdefault(kind, []).append(parameter)
            for kind, parameters in by_shape.items():
                muon = kind[0] == "muon"
                decay = WEIGHT_DECAY if muon or kind[1] else 0.0
                plan.append((muon, group.muon_rate if muon else group.adam_rate, decay, parameters))
        total = sum(parameter.numel() for *_, parameters in plan for parameter in parameters)
        self.weights, self.grads = torch.empty(total), torch.zeros(total)
        self.segments = self._lay_out(plan)
        self.steps = 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if dist.is_initialized() else 0

    def _lay_out(self, plan: list) -> list[Segment]:
        segments, start = [], 0
        for muon, rate, decay, parameters in plan:
            begin = start
            for parameter in parameters:
                end = start + parameter.numel()
                self.weights[start:end] = parameter.data.flatten()
                parameter.data = self.weights[start:end].view_as(parameter)
                parameter.grad = self.grads[start:end].view_as(parameter)
                start = end
            shape = (len(parameters), *parameters[0].shape) if muon else (start - begin,)
            weight, grad = (flat[begin:start].view(shape) for flat in (self.weights, self.grads))
            state = [torch.zeros_like(weight) for _ in range(1 if muon else 2)]
            segments.append(Segment(muon, rate, decay, weight, grad, state))
        return segments

    def zero(self) -> None:
        """Before a backward pass. (Never set gradients to None: they are views of the flat buffer.)"""
        self.grads.zero_()

    @torch.no_grad()
    def step(self, factor: float) -> float:
        """Averages gradients over processes, clips, and applies all rules at `factor` of their rates.

        Returns the norm of the gradient before clipping.
        """
        if self.world > 1:
            dist.all_reduce(self.grads)
            self.grads /= self.world
        norm = self.grads.norm().item()
        self.grads *= min(1.0, CLIP_NORM / (norm + 1e-6))
        self.steps += 1
        updates = self._orthogonal_updates([segment for segment in self.segments if segment.muon])
        for segment in self.segments:
            rate = segment.rate * factor
            segment.weight.mul_(1 - rate * segment.decay)
            if segment.muon:
                # Scaled so that an update's rms is AdamW's (Liu et al. 2025): rates mean the same for both.
                scale = 0.2 * max(segment.weight.shape[1:]) ** 0.5
                segment.weight.add_(updates.pop(0), alpha=-rate * scale)
            else:
                self._adam(segment, rate)
        return norm

    def _orthogonal_updates(self, segments: list[Segment]) -> list[torch.Tensor]:
        """Orthogonalised momentum of each stack; each process does every `world`-th matrix and they are summed."""
        total = sum(segment.weight.numel() for segment in segments)
        flat, views, start = torch.zeros(total), [], 0
        for segment in segments:
            end = start + segment.weight.numel()
            view = flat[start:end].view_as(segment.weight)
            (momentum,) = segment.state
            momentum.lerp_(segment.grad, 1 - MUON_MOMENTUM)
            mine = slice(self.rank, None, self.world)
            ahead = torch.lerp(segment.grad[mine], momentum[mine], MUON_MOMENTUM)  # Nesterov
            if len(ahead):
                view[mine] = orthogonal(ahead)
            views.append(view)
            start = end
        if self.world > 1:
            dist.all_reduce(flat)
        return views

    def _adam(self, segment: Segment, rate: float) -> None:
        mean, square = segment.state
        first, second = ADAM_BETAS
        mean.lerp_(segment.grad, 1 - first)
        square.mul_(second).addcmul_(segment.grad, segment.grad, value=1 - second)
        corrected = square / (1 - second**self.steps)
        segment.weight.addcdiv_(mean, corrected.sqrt_().add_(1e-8), value=-rate / (1 - first**self.steps))

    def state_dict(self) -> dict:
        """All that a resumed run needs besides the weights."""
        return {"steps": self.steps, "state": [segment.state for segment in self.segments]}

    def load_state_dict(self, saved: dict) -> None:
        """Puts back what `state_dict` gave; the groups must be the same."""
        self.steps = saved["steps"]
        for segment, state in zip(self.segments, saved["state"], strict=True):
            for mine, theirs in zip(segment.state, state, strict=True):
                mine.copy_(theirs)


def schedule(step: int, steps: int) -> float:
    """The factor on all rates at `step` of `steps`: short warm-up, flat, linear to a fiftieth over the last 60 %."""
    return min(1.0, (step + 1) / 150) * min(1.0, (1 - step / steps) / 0.6 + 0.02)
