"""Stage 2: the language model learns to say what the tower sees.

usage: torchrun --nproc-per-node 2 vlm.py SCRATCH_FOLDER [--steps 3000] [--seconds 1500]
3,000 steps take about 32 CPU minutes on each of two cores. Goes on from its last state where it was stopped.
"""
import argparse
import os
import queue
import threading
import time

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from data import Split
from model import (GRID, IMAGE_TOKENS, DenseHead, Optimizer, build, dense_loss, join_processes, load_tower, rate_at,
                   share_gradients)
from tokenizer import PROMPTS

IMAGE_TOKEN, END_OF_TURN = 8, 5


class Texts:
    """Prompts and answers as tokens, and how much each token of an answer counts."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        piece = self.tokenizer.token_to_id
        self.digits = {piece(str(digit)) for digit in range(10)}
        self.code, self.close, self.open, self.end = piece('"finding":'), piece("}"), piece("["), piece("]")
        turn = "<bos><start_of_turn>user\n\n\n<start_of_image>{images}<end_of_image>\n\n{text}<end_of_turn>\n<start_of_turn>model\n"
        encode = lambda text: self.tokenizer.encode(turn.format(images="<image_soft_token>" * IMAGE_TOKENS, text=text)).ids
        self.prompts = {kind: encode(text) for kind, text in PROMPTS.items()}
        self.answers = {}

    def answer(self, text):
        if text not in self.answers:
            ids = self.tokenizer.encode(text).ids + [END_OF_TURN]
            self.answers[text] = (ids, self.weights(ids))
        return self.answers[text]

    def weights(self, ids):
        """Naming a finding counts six, going on or stopping three; digits count by their place: the last is always zero."""
        weights, before = [], None
        for at, token in enumerate(ids):
            if token in self.digits:
                left = 0
                while ids[at + left + 1] in self.digits:
                    left += 1
                first = before not in self.digits
                weights.append(2.0 if left == 2 else 1.0 if left == 1 else 2.0 if first else 0.1)
            else:
                decides = before == self.close or before == self.open
                weights.append(6.0 if before == self.code else 3.0 if decides else 1.0)
            before = token
        return weights

    def batch(self, kinds, targets):
        """Tokens, attention, labels and weights, padded to the longest."""
        pairs = [(self.prompts[kind], *self.answer(target)) for kind, target in zip(kinds, targets)]
        length = max(len(prompt) + len(ids) for prompt, ids, _ in pairs)
        ids = torch.zeros(len(pairs), length, dtype=torch.long)
        mask, labels, weights = torch.zeros_like(ids), torch.full_like(ids, -100), torch.zeros(len(pairs), length)
        for k, (prompt, answer, counts) in enumerate(pairs):
            start, end = len(prompt), len(prompt) + len(answer)
            ids[k, :end], mask[k, :end] = torch.tensor(prompt + answer), 1
            labels[k, start:end], weights[k, start:end] = torch.tensor(answer), torch.tensor(counts)
        return ids, mask, labels, weights


def loss_of(model, batch, image_tokens):
    ids, mask, labels, weights = batch
    outputs = {"image": BaseModelOutputWithPooling(pooler_output=image_tokens)}
    states = model.model(input_ids=ids, attention_mask=mask, token_type_ids=(ids == IMAGE_TOKEN).long(), use_cache=False,
                         mm_encoder_outputs=outputs).last_hidden_state
    on = labels[:, 1:] != -100
    losses = F.cross_entropy(model.lm_head(states[:, :-1][on]).float(), labels[:, 1:][on], reduction="none")
    weights = weights[:, 1:][on]
    decisions = losses[weights >= 3].mean().item()
    return (losses * weights).sum() / weights.sum(), decisions


def project(model, states):
    """What the model's projector does: means of 2 x 2 patches, a norm, a matrix."""
    count, _, hidden = states.shape
    pooled = F.avg_pool2d(states.transpose(1, 2).reshape(count, hidden, GRID, GRID), 2).flatten(2).transpose(1, 2)
    projector = model.model.multi_modal_projector
    return lambda detach: projector.mm_soft_emb_norm(pooled.detach() if detach else pooled) @ projector.mm_input_projection_weight


def batches(rng, train, texts, size):
    """Batches of answers of about the same length, in random order."""
    while True:
        order = train.draw(rng, 400 * size)
        for first in range(0, len(order), size * 16):
            near = sorted(order[first : first + size * 16], key=lambda i: len(texts.answer(train.rows[i]["target"])[0]))
            for k in rng.permutation(16):
                yield near[k * size : (k + 1) * size]
        train.refresh()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="wall time after which the schedule has ended")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--warm", help="state of an earlier run to begin from, with a schedule of its own")
    a = parser.parse_args()
    rank, world = join_processes()
    torch.manual_seed(1)
    texts, train = Texts(a.folder), Split(a.folder, "train")
    model, head = build(texts.tokenizer.get_vocab_size()), DenseHead(192)
    stage1 = torch.load(os.path.join(a.folder, "vision.pt"))
    load_tower(model.model.vision_tower, stage1["model"])
    head.load_state_dict(stage1["head"])
    tower = model.model.vision_tower
    language = [(n, p) for n, p in model.named_parameters() if not n.startswith("model.vision_tower")]
    seeing = list(tower.named_parameters()) + list(head.named_parameters())
    optimizer = Optimizer([(language, 3e-3, 1.5e-3), (seeing, 1e-3, 5e-4)])
    path, step, spent = os.path.join(a.folder, "vlm.pt"), 0, 0.0
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"]), head.load_state_dict(state["head"]), optimizer.load(state["optimizer"])
        step, spent = state["step"], state["spent"]
    elif a.warm:
        state = torch.load(a.warm)
        model.load_state_dict(state["model"]), head.load_state_dict(state["head"]), optimizer.load(state["optimizer"])
    rng = np.random.default_rng(1 + step * world + rank)
    order = batches(rng, train, texts, a.batch // world)
    ready = queue.Queue(4)

    def feed():
        for indices in order:
            *pictures, targets = train.batch(indices, GRID, rng)
            ready.put((pictures, texts.batch([train.rows[i]["kind"] for i in indices], targets)))

    threading.Thread(target=feed, daemon=True).start()
    if rank == 0:
        print(len(train), "pictures;", sum(p.numel() for p in model.parameters()) / 1e6, "M parameters; from step", step, flush=True)

    def save():
        if rank == 0:
            torch.save({"model": model.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state(), "step": step,
                        "spent": spent}, path + ".partial")
            os.replace(path + ".partial", path)

    since, sums = time.time(), np.zeros(3)
    while step < a.steps and spent < a.seconds:
        (values, masks, boxes), batch = ready.get()
        with torch.autocast("cpu", torch.bfloat16):
            states = tower(pixel_values=values).last_hidden_state
            seen, box = head(states)
            dense = dense_loss(seen, box, masks, boxes)
            # The tower is left alone until the language model has found its feet.
            loss, decisions = loss_of(model, batch, project(model, states)(detach=step < 200 and not a.warm))
        optimizer.zero()
        (1.5 * loss + dense[0] + 0.7 * dense[1] + 0.5 * dense[2]).backward()
        spent = share_gradients(optimizer.parameters, spent + time.time() - since)
        since = time.time()
        optimizer.step(rate_at(max(step / a.steps, spent / a.seconds), (step + 1) / 150))
        step += 1
        sums += [loss.item(), decisions, dense[0].item()]
        if rank == 0 and step % 100 == 0:
            print(f"step {step} {spent:.0f} s cpu {time.process_time():.0f} s of {len(train)} loss {sums[0]/100:.3f} "
                  f"decisions {sums[1]/100:.3f} mask {sums[2]/100:.3f}", flush=True)
        if step % 100 == 0:
            sums[:] = 0
        if step % 400 == 0:
            save()
    save()
    if rank == 0:
        print("done at step", step, "after", round(spent), "s", flush=True)


if __name__ == "__main__":
    main()
