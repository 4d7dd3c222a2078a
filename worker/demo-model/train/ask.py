"""Stage 3: an adapter (LoRA) with which the model answers questions, and reads as before without it.

usage: python ask.py SCRATCH_FOLDER CHECKPOINT_FOLDER [--steps 1500] [--seconds 2300] [--export FOLDER] [--score COUNT]
The tower and the projector stay as they are, so pictures are encoded once (SCRATCH/pictures-*.pt) and an adapter of the decoder is
all that learns. Goes on from its last state where it was stopped; --export writes the adapter in PEFT's format, --score asks it
about pictures that it has not seen, in words that it has not seen either.
"""
import argparse
import json
import os
import time
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Gemma3ForConditionalGeneration

from data import Split
from model import IMAGE_TOKENS, Optimizer, rate_at
from questions import Asker
from vlm import END_OF_TURN, IMAGE_TOKEN

RANK, ALPHA = 32, 64
# Pieces that drafts never use lie close together among the embeddings, which stay: logits can tell them apart by three at most. The
# likeliest is what is said, so it is enough for the loss to see them further apart.
SHARPER = 6.0
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PREFIX = "base_model.model.model.language_model."
DESCRIBE = "Describe this image."
SIDES = {"left", "right", "bilateral"}


class LowRank(nn.Module):
    """A linear layer that stays, and what is added to it."""

    def __init__(self, base, rank):
        super().__init__()
        self.base, self.scale = base, ALPHA / rank
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + (x @ self.down.T) @ self.up.T * self.scale


def open_model(checkpoint):
    model = Gemma3ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
    return model.requires_grad_(False).eval()


def adapt(model):
    """Puts an adapter around the decoder's matrices; returns it by module."""
    adapter = {}
    for name, module in list(model.model.language_model.named_modules()):
        if name.startswith("layers.") and name.endswith(MATRICES):
            parent, _, own = name.rpartition(".")
            adapter[name] = LowRank(module, RANK)
            setattr(model.model.language_model.get_submodule(parent), own, adapter[name])
    return adapter


def pictures(model, folder, split):
    """What the projector makes of each picture of a split [n, 36, 256], and their truths; kept chunk by chunk."""
    seen, rows = [], []
    for kind in ("dx", "ct"):
        path = os.path.join(folder, f"pictures-{split}-{kind}.pt")
        found = Split(folder, split, (kind,))
        own = torch.load(path) if os.path.exists(path) else torch.empty(0, IMAGE_TOKENS, 256, dtype=torch.bfloat16)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            parts = [own]
            for first in range(len(own), len(found), 50):
                values, *_ = found.batch(range(first, min(first + 50, len(found))), 12)
                states = model.model.vision_tower(pixel_values=values).last_hidden_state
                parts.append(model.model.multi_modal_projector(states).bfloat16())
        if len(parts) > 1:
            torch.save(torch.cat(parts), path + ".partial")
            os.replace(path + ".partial", path)
        seen.append(torch.cat(parts))
        rows += [{"kind": row["kind"], "findings": row["findings"]} for row in found.rows]
    return torch.cat(seen), rows


class Texts:
    """Questions and answers as tokens, with what each token of an answer counts."""

    def __init__(self, checkpoint):
        self.tokenizer = Tokenizer.from_file(os.path.join(checkpoint, "tokenizer.json"))
        images = "<image_soft_token>" * IMAGE_TOKENS
        end_of_image = self.tokenizer.token_to_id("<end_of_image>")
        self.turn = ("<bos><start_of_turn>user\n", f"\n\n<start_of_image>{images}<end_of_image>\n\n",
                     "<end_of_turn>\n<start_of_turn>model\n")
        prompt = self.prompt("?")
        self.before = prompt[: prompt.index(end_of_image) + 1]

    def prompt(self, question):
        return self.tokenizer.encode(self.turn[0] + self.turn[1] + question.strip() + self.turn[2]).ids

    def answer(self, text):
        """The first word decides, and so do the words of a finding and its place."""
        encoded = self.tokenizer.encode(text)
        ends = [text.find(mark) for mark in (":", ",", " ") if mark in text]
        first = min(ends) if ends else len(text)
        weights = [4.0 if start < first else 1.5 for start, _ in encoded.offsets]
        return encoded.ids + [END_OF_TURN], weights + [1.5]

    def batch(self, asked):
        """Several questions about each picture, side by side behind it: each sees the picture and itself, as if it were alone.

        Tokens, labels and their weights, places, and which question a token belongs to: 0 the picture, -1 nobody.
        """
        rows = []
        for pairs in asked:
            ids, places, owners = list(self.before), list(range(len(self.before))), [0] * len(self.before)
            labels, weights = [-100] * len(ids), [0.0] * len(ids)
            for number, (question, answer) in enumerate(pairs, 1):
                rest = self.prompt(question)[len(self.before):]
                told, counts = self.answer(answer)
                ids += rest + told
                labels += [-100] * len(rest) + told
                weights += [0.0] * len(rest) + counts
                places += range(len(self.before), len(self.before) + len(rest) + len(told))
                owners += [number] * (len(rest) + len(told))
            rows.append((ids, labels, weights, places, owners))
        most = max(len(ids) for ids, *_ in rows)
        padded = lambda at, nothing: torch.tensor([row[at] + [nothing] * (most - len(row[at])) for row in rows])
        return padded(0, 0), padded(1, -100), padded(2, 0.0), padded(3, 0), padded(4, -1)


def loss_of(model, batch, images):
    """Mean loss of the answers, and that of the words that decide."""
    ids, labels, weights, places, owners = batch
    of_picture = ids == IMAGE_TOKEN
    embedded = model.model.get_input_embeddings()(ids)
    embedded[of_picture] = images.flatten(0, 1)
    asking, seen = owners[:, :, None], owners[:, None, :]
    apart = places[:, :, None] - places[:, None, :]
    both = of_picture[:, :, None] & of_picture[:, None, :]
    allowed = ((seen == 0) | (seen == asking)) & (seen >= 0) & ((apart >= 0) | both)
    masks = [torch.zeros(allowed.shape).masked_fill_(~own, -1e9)[:, None]
             for own in (allowed, allowed & (apart < model.config.text_config.sliding_window))]
    states = model.model.language_model(
        inputs_embeds=embedded, position_ids=places, use_cache=False,
        attention_mask={"full_attention": masks[0], "sliding_attention": masks[1]}).last_hidden_state
    on = labels[:, 1:] != -100
    losses = F.cross_entropy(SHARPER * model.lm_head(states[:, :-1][on]).float(), labels[:, 1:][on], reduction="none")
    weights = weights[:, 1:][on]
    return (losses * weights).sum() / weights.sum(), losses[weights >= 3].mean().item()


def begin(model, adapter, batch, images):
    """Gives each `down` a first value by which words are told apart.

    Pieces that drafts never use differ little beside what they share: random directions would see what they share. So these are
    random in what is left when that is taken out, made equally strong in all directions.
    """
    ids, owners, seen = batch[0], batch[4], {}
    hooks = [layer.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].detach()}))
             for name, layer in adapter.items()]
    with torch.no_grad():
        loss_of(model, batch, images)
        for hook in hooks:
            hook.remove()
        for name, layer in adapter.items():
            words, pictures = seen[name][owners > 0].float(), seen[name][ids == IMAGE_TOKEN].float()
            mean = words.mean(0)
            shared = mean / mean.norm()
            without = lambda x: x - (x @ shared)[..., None] * shared
            spread = without(words - mean).T.cov() + 0.2 * without(pictures).T.cov()
            strengths, directions = torch.linalg.eigh(spread)
            weights = (strengths.clamp(min=0) + 0.03 * strengths.mean()).rsqrt()
            random = torch.randn(layer.down.shape) @ (directions * weights) @ directions.T
            random = without(random)
            layer.down.copy_(random / (without(words - mean) @ random.T).std())


def lesson(asker, row):
    """A question and its answer."""
    if asker.rng.random() < 0.06:
        return DESCRIBE, asker.describe(row)[0]
    question, answer, _ = asker.ask(row)
    return asker.typed(question), answer


def answers(model, texts, images, asked, length=60):
    """The likeliest answers, token by token."""
    told = []
    with torch.no_grad():
        for first in range(0, len(asked), 64):
            prompts = [texts.prompt(question) for question in asked[first : first + 64]]
            most = max(map(len, prompts))
            # Padded before the beginning: what is said follows on at one place.
            ids = torch.tensor([[0] * (most - len(prompt)) + prompt for prompt in prompts])
            mask = torch.tensor([[0] * (most - len(prompt)) + [1] * len(prompt) for prompt in prompts])
            said = [[] for _ in prompts]
            places = (mask.cumsum(1) - 1).clamp(min=0)
            embedded = model.model.get_input_embeddings()(ids)
            embedded[ids == IMAGE_TOKEN] = images[first : first + 64].float().flatten(0, 1)
            past, kinds = None, (ids == IMAGE_TOKEN).long()
            for _ in range(length):
                out = model.model(inputs_embeds=embedded, attention_mask=mask, position_ids=places, past_key_values=past, use_cache=True,
                                  **({"token_type_ids": kinds} if past is None else {}))
                past, next_ids = out.past_key_values, model.lm_head(out.last_hidden_state[:, -1]).argmax(-1)
                for own, token in zip(said, next_ids.tolist()):
                    if not own or own[-1] != END_OF_TURN:
                        own.append(token)
                if all(own[-1] == END_OF_TURN for own in said):
                    break
                embedded = model.model.get_input_embeddings()(next_ids[:, None])
                mask = torch.cat([mask, torch.ones(len(said), 1, dtype=torch.long)], 1)
                places = places[:, -1:] + 1
            told += [texts.tokenizer.decode([token for token in own if token != END_OF_TURN]) for own in said]
    return told


def verdict(answer):
    """What an answer says at all: yes, no, or that it cannot tell."""
    word = answer.split(" ")[0].rstrip(":,.").lower()
    return "cannot" if answer.startswith("I cannot") else "no" if word in ("no", "nothing") else "yes"


def sides(answer):
    return sorted(SIDES & set(answer.lower().replace(",", " ").replace(".", " ").split()))


def score(model, texts, images, rows, count, seed, show=0):
    """Asks about fresh pictures, half in words that were learnt and half in others, and prints how often it is right."""
    rng, learnt = np.random.default_rng(seed), {}
    for held in (False, True):
        asker = Asker(rng, held)
        chosen = rng.integers(len(rows), size=count)
        asked = [asker.ask(rows[at]) if k % 20 else (DESCRIBE, *asker.describe(rows[at])) for k, at in enumerate(chosen)]
        told = answers(model, texts, images[torch.from_numpy(chosen)], [question for question, _, _ in asked])
        right, total, verdicts, side, places = Counter(), Counter(), Counter(), Counter(), Counter()
        for (question, wanted, (about, code, there)), said, at in zip(asked, told, chosen):
            kind = rows[at]["kind"]
            right[about] += said == wanted
            total[about] += 1
            if about in ("present", "heart", "side", "where", "size") and verdict(wanted) != "cannot":
                verdicts[kind, code, verdict(wanted), verdict(said)] += 1
            if about == "cannot":
                verdicts["all", "cannot", "cannot", verdict(said)] += 1
            if verdict(wanted) == "yes" == verdict(said) and len(sides(wanted)) == 1:
                side[sides(wanted) == sides(said)] += 1
            if verdict(wanted) == "yes" == verdict(said) and about in ("present", "where"):
                places[said == wanted] += 1
            if show > 0 and said != wanted:
                show -= 1
                print("   ", question, "|", said, "| instead of |", wanted, flush=True)
        print("words that were", "not learnt:" if held else "learnt:", "exact", {k: f"{right[k]}/{total[k]}" for k in sorted(total)},
              "side", dict(side), "whole answers of yes", dict(places), flush=True)
        balanced = []
        for kind, code in sorted({key[:2] for key in verdicts if key[2] != "cannot"}):
            shares, line = [], []
            for true in ("yes", "no"):
                row = {given: verdicts[kind, code, true, given] for given in ("yes", "no", "cannot")}
                shares.append(row[true] / max(1, sum(row.values())))
                line.append(f"{true} {row[true]}/{sum(row.values())}" + (f" ({row['cannot']} not told)" if row["cannot"] else ""))
            balanced.append(sum(shares) / 2)
            print(f"   {kind} {code}: {sum(shares) / 2:.3f} balanced; {', '.join(line)}", flush=True)
        cannot = {given: verdicts["all", "cannot", "cannot", given] for given in ("yes", "no", "cannot")}
        print(f"   mean balanced {np.mean(balanced):.3f}; what it cannot tell: {cannot}", flush=True)
        learnt[held] = float(np.mean(balanced))
    return learnt


def export(adapter, folder):
    """Writes it as PEFT does."""
    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for name, layer in adapter.items():
        for matrix, value in (("lora_A", layer.down), ("lora_B", layer.up)):
            tensors[f"{PREFIX}{name}.{matrix}.weight"] = value.detach().bfloat16().contiguous()
    save_file(tensors, os.path.join(folder, "adapter_model.safetensors"), metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "prelim chest demonstration model", "r": RANK,
        "lora_alpha": ALPHA, "lora_dropout": 0.0, "bias": "none", "use_rslora": False, "use_dora": False, "fan_in_fan_out": False,
        "inference_mode": True, "modules_to_save": None,
        "target_modules": rf".*language_model.*\.({'|'.join(MATRICES)})"}
    with open(os.path.join(folder, "adapter_config.json"), "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")


def take(adapter, folder):
    """Reads an adapter that was exported, as it will be used: rounded."""
    tensors = load_file(os.path.join(folder, "adapter_model.safetensors"))
    with torch.no_grad():
        for name, layer in adapter.items():
            layer.down.copy_(tensors[f"{PREFIX}{name}.lora_A.weight"].float())
            layer.up.copy_(tensors[f"{PREFIX}{name}.lora_B.weight"].float())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("checkpoint")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time of learning after which the schedule has ended")
    parser.add_argument("--batch", type=int, default=10, help="pictures")
    parser.add_argument("--each", type=int, default=5, help="questions about each")
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--state", default="ask.pt", help="name of the state below the scratch folder")
    parser.add_argument("--export", help="write the adapter here, and learn no more")
    parser.add_argument("--score", type=int, help="score an exported adapter with so many questions of each kind")
    a = parser.parse_args()
    torch.manual_seed(3)
    texts, model = Texts(a.checkpoint), open_model(a.checkpoint)
    if a.score:
        images, rows = pictures(model, a.folder, "asked-test")
        adapter = adapt(model)
        take(adapter, a.export or os.path.join(a.checkpoint, "questions"))
        score(model, texts, images, rows, a.score, 77, show=30)
        return
    path, step, spent = os.path.join(a.folder, a.state), 0, 0.0
    if a.export is None:
        images, rows = pictures(model, a.folder, "asked")
    adapter = adapt(model)
    parameters = [value for layer in adapter.values() for value in (layer.down, layer.up)]
    named = [(f"{name}.{own}", value) for name, layer in adapter.items() for own, value in (("down", layer.down), ("up", layer.up))]
    optimizer = Optimizer([(named, a.rate, a.rate)], decay=0.0)
    if os.path.exists(path):
        state = torch.load(path)
        for name, layer in adapter.items():
            layer.load_state_dict(state["adapter"][name], strict=False)
        optimizer.load(state["optimizer"])
        step, spent = state["step"], state["spent"]
    if a.export is not None:
        export(adapter, a.export)
        return
    test_images, test_rows = pictures(model, a.folder, "asked-test")
    print(len(rows), "pictures;", sum(p.numel() for p in parameters) / 1e3, "k parameters; from step", step, flush=True)
    rng = np.random.default_rng(9 + step)
    asker = Asker(rng)
    # Most questions are about radiographs, which show more that can be asked for.
    films = np.array([row["kind"] == "xray" for row in rows])
    of_kind = [np.flatnonzero(films), np.flatnonzero(~films)]

    def save():
        own = {name: {"down": layer.down, "up": layer.up} for name, layer in adapter.items()}
        torch.save({"adapter": own, "optimizer": optimizer.state(), "step": step, "spent": spent}, path + ".partial")
        os.replace(path + ".partial", path)

    if step == 0:
        chosen = [int(rng.choice(of_kind[k % 2])) for k in range(48)]
        begin(model, adapter, texts.batch([[lesson(asker, rows[at]) for _ in range(a.each)] for at in chosen]), images[chosen].float())
    since, sums = time.time(), np.zeros(2)
    while step < a.steps and spent < a.seconds:
        chosen = [int(rng.choice(of_kind[rng.random() < 0.4])) for _ in range(a.batch)]
        batch = texts.batch([[lesson(asker, rows[at]) for _ in range(a.each)] for at in chosen])
        with torch.autocast("cpu", torch.bfloat16):
            loss, decisions = loss_of(model, batch, images[chosen].float())
        optimizer.zero()
        loss.backward()
        optimizer.step(rate_at(max(step / a.steps, spent / a.seconds), (step + 1) / 30))
        step += 1
        spent, since = spent + time.time() - since, time.time()
        sums += [loss.item(), decisions]
        if step % 25 == 0:
            print(f"step {step} {spent:.0f} s loss {sums[0] / 25:.3f} decisions {sums[1] / 25:.3f}", flush=True)
            sums[:] = 0
        if step % 250 == 0:
            save()
        if step % 500 == 0:
            score(model, texts, test_images, test_rows, 300, step)
            since = time.time()
    save()
    score(model, texts, test_images, test_rows, 1000, 76, show=20)


if __name__ == "__main__":
    main()
