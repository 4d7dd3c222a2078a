"""The model, the training-only dense head, and the optimizer."""
import math
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig

from data import CLASSES

IMAGE, PATCH = 192, 16
GRID = IMAGE // PATCH
IMAGE_TOKENS = (GRID // 2) ** 2
# Small things are few patches of many: their patches count more.
POSITIVE_WEIGHT = torch.tensor([10.0 if c == "nodule" else 6.0 if c == "endotracheal_tube" else 3.0 for c in CLASSES])


def vision_config():
    config = SiglipVisionConfig(hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=3,
                                image_size=IMAGE, patch_size=PATCH, num_channels=3, vision_use_head=False)
    config._attn_implementation = "eager"  # faster than sdpa at this size on a CPU
    return config


def build(vocabulary):
    """The whole model, random; the language model has two sliding and two full layers."""
    text = Gemma3TextConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=1, head_dim=64, query_pre_attn_scalar=64, sliding_window=64, sliding_window_pattern=2,
        max_position_embeddings=2048, pad_token_id=0, eos_token_id=1, bos_token_id=2)
    config = Gemma3Config(
        text_config=text.to_dict(), vision_config=vision_config().to_dict(), mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=6, eoi_token_index=7, image_token_index=8, pad_token_id=0, eos_token_id=[1, 5], bos_token_id=2)
    config._attn_implementation = config.text_config._attn_implementation = "eager"
    model = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():
        model.model.multi_modal_projector.mm_input_projection_weight.normal_(0, 0.03)
    return model


def start_tower(tower):
    """Positions that are sines, and attention that starts near the identity (Trockman and Kolter, 2023)."""
    hidden = tower.embeddings.position_embedding.weight.shape[1]
    angles = torch.arange(GRID).float()[:, None] / 100 ** (torch.arange(hidden // 4) / (hidden // 4))
    one = torch.cat([angles.sin(), angles.cos()], 1)
    both = torch.cat([one[:, None, :].expand(GRID, GRID, -1), one[None, :, :].expand(GRID, GRID, -1)], 2)
    with torch.no_grad():
        tower.embeddings.position_embedding.weight.copy_(both.reshape(GRID * GRID, hidden) * 0.7)
        for layer in tower.encoder.layers:
            attention = layer.self_attn
            width, identity = hidden // attention.num_heads, torch.eye(hidden)
            for head in range(attention.num_heads):
                u, s, v = torch.linalg.svd(0.7 * torch.randn(hidden, hidden) / hidden**0.5 + 0.7 * identity)
                root, rows = s[:width].sqrt(), slice(head * width, (head + 1) * width)
                attention.q_proj.weight[rows] = (u[:, :width] * root).T
                attention.k_proj.weight[rows] = (v[:width].T * root).T
            u, s, v = torch.linalg.svd(0.4 * torch.randn(hidden, hidden) / hidden**0.5 - 0.4 * identity)
            attention.v_proj.weight.copy_((u * s.sqrt()).T)
            attention.out_proj.weight.copy_((v.T * s.sqrt()).T)


def load_tower(tower, weights):
    """Puts a tower's weights into another, under whatever prefix this version of the library has."""
    short = {name.removeprefix("vision_model."): value for name, value in weights.items()}
    tower.load_state_dict({name: short[name.removeprefix("vision_model.")] for name in tower.state_dict()})


def tower_of(checkpoint):
    """The tower's weights of a checkpoint folder."""
    with safe_open(os.path.join(checkpoint, "model.safetensors"), "pt") as file:
        marks = [name.partition("vision_tower.") for name in file.keys()]
        return {after: file.get_tensor(before + mark + after).float() for before, mark, after in marks if mark}


class DenseHead(nn.Module):
    """For training only: for each patch and class, whether the patch shows it, and the box of the thing it belongs to."""

    def __init__(self, hidden):
        super().__init__()
        self.linear = nn.Linear(hidden, len(CLASSES) * 5)
        with torch.no_grad():
            self.linear.bias[: len(CLASSES)] = -3

    def forward(self, states):
        out = self.linear(states)
        return out[..., : len(CLASSES)], out[..., len(CLASSES) :].unflatten(-1, (len(CLASSES), 4))


def dense_loss(seen, box, masks, boxes):
    """Losses of masks, of boxes and of presence."""
    cover = masks.flatten(2).transpose(1, 2)
    mask = F.binary_cross_entropy_with_logits(seen.float(), cover.sqrt().clamp(0, 1), reduction="none", pos_weight=POSITIVE_WEIGHT)
    weight = (cover > 0.3).float() + 0.3 * ((cover > 0.03) & (cover <= 0.3)).float()
    # Errors count relative to the box, so that small boxes are learned as well as large ones.
    size = ((boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)).sqrt()
    error = (box.float().sigmoid() - boxes[:, None]).abs().sum(-1) * weight * (0.25 / (size + 0.06))[:, None]
    place = (error / weight.sum(1, keepdim=True).clamp(min=1)).sum((1, 2)).mean()  # every thing counts once
    present = (boxes.sum(-1) > 0).float()
    presence = F.binary_cross_entropy_with_logits(seen.float().amax(1), present, reduction="none").sum(-1).mean()
    return mask.sum(-1).mean(), place, presence


class Optimizer:
    """Muon on the matrices inside layers, AdamW on the rest. Groups are (named parameters, Muon's rate, AdamW's rate)."""

    def __init__(self, groups, decay=0.05):
        self.decay, self.matrices, rest = decay, [], []
        for named, muon_rate, adam_rate in groups:
            shapes = {}
            for name, parameter in named:
                if parameter.ndim == 2 and "layers." in name:
                    shapes.setdefault(tuple(parameter.shape), []).append(parameter)
                else:
                    rest.append({"params": [parameter], "lr": adam_rate, "base": adam_rate,
                                 "weight_decay": decay if parameter.ndim > 1 else 0})
            self.matrices += [(muon_rate, same, torch.zeros(len(same), *shape)) for shape, same in shapes.items()]
        self.adam = torch.optim.AdamW(rest, betas=(0.9, 0.98)) if rest else None
        self.parameters = [p for group in rest for p in group["params"]] + [p for _, same, _ in self.matrices for p in same]

    def state(self):
        return {"adam": self.adam and self.adam.state_dict(), "momentum": [momentum for _, _, momentum in self.matrices]}

    def load(self, state):
        if self.adam:
            self.adam.load_state_dict(state["adam"])
        for (_, _, momentum), saved in zip(self.matrices, state["momentum"]):
            momentum.copy_(saved)

    def zero(self):
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, factor):
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if self.adam:
            for group in self.adam.param_groups:
                group["lr"] = group["base"] * factor
            self.adam.step()
        world = dist.get_world_size() if dist.is_initialized() else 1
        rank = dist.get_rank() if world > 1 else 0
        with torch.no_grad():
            updates = []
            for rate, same, momentum in self.matrices:
                if same[0].grad is None:
                    continue
                gradient = torch.stack([p.grad for p in same])
                momentum.mul_(0.95).add_(gradient, alpha=0.05)
                update = torch.zeros_like(momentum)
                update[rank::world] = orthogonal(torch.lerp(gradient, momentum, 0.95)[rank::world])  # a share each
                updates.append((rate, same, update))
            if world > 1 and updates:
                flat = torch.cat([update.flatten() for _, _, update in updates])
                dist.all_reduce(flat)
                parts = flat.split([update.numel() for _, _, update in updates])
                updates = [(rate, same, part.view_as(update)) for (rate, same, update), part in zip(updates, parts)]
            for rate, same, update in updates:
                scale = rate * factor * 0.2 * math.sqrt(max(update.shape[1:]))
                for parameter, change in zip(same, update):
                    parameter.mul_(1 - rate * factor * self.decay).add_(change, alpha=-scale)


def orthogonal(x):
    """The nearest matrices with equal singular values, by Newton-Schulz."""
    if not len(x):
        return x
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-9)).bfloat16()
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (2.0315 * (a @ a) - 4.7750 * a) @ x
    return (x.transpose(1, 2) if tall else x).float()


def join_processes():
    """Rank and number of processes; each has a core to itself."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
    torch.set_num_threads(2 if world == 1 else 1)
    return rank, world


def share_gradients(parameters, spent):
    """Means over the processes; the time goes along, so that all agree on it."""
    if not dist.is_initialized():
        return spent
    parameters = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.reshape(-1) for p in parameters] + [torch.tensor([spent], dtype=torch.float32)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for parameter, part in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
        parameter.grad.copy_(part.view_as(parameter))
    return float(flat[-1])


def rate_at(done, warm):
    """Share of the full rate: up over `warm`, level, then down over the last 60 %."""
    return min(1.0, warm) * min(1.0, max(0.0, 1 - done) / 0.6 + 0.02)
