"""Stage 2: the language model learns to say what the tower sees, and the tower goes on learning.

The dense head stays on as a second teacher: without it the tower forgets small things that are seldom asked for.
"""

import torch
from tokenizers import Tokenizer

from data import BatchPlan, PhantomImages
from dense import DenseHead, DenseLoss
from evaluate import generate
from loop import Loop, Settings, share, side_by_side
from metrics import score
from model import hidden_states, image_tokens, load_tower, new_model, split_parameters
from optimiser import Group, Optimiser
from targets import Language

LANGUAGE_MUON_RATE, LANGUAGE_ADAM_RATE = 2e-3, 1.5e-3
TOWER_MUON_RATE, TOWER_ADAM_RATE = 7e-4, 5e-4
ANSWER_SHARE = 1.5
# While the language model is noise, its gradients would undo stage 1.
DETACHED_STEPS = 200
REVIEW_IMAGES = {"dx": 120, "ct": 80}


def train(settings: Settings) -> None:
    """Trains or resumes the stage; leaves `stage2.pt` in the run's folder."""
    side_by_side(_train, settings)


def _train(settings: Settings, rank: int) -> None:
    torch.manual_seed(settings.seed + 1)
    images, held_out = PhantomImages(settings.data, "train"), PhantomImages(settings.data, "val")
    language = Language(Tokenizer.from_file(str(settings.out / "tokenizer.json")))
    model, head, loss_of = new_model(language.tokenizer.get_vocab_size()), DenseHead(), DenseLoss()
    tower = model.model.vision_tower
    first = torch.load(settings.out / "stage1.pt", weights_only=True, mmap=True)
    load_tower(tower, first["tower"])
    head.load_state_dict(first["head"])
    of_language, of_tower = split_parameters(model)
    optimiser = Optimiser(
        [
            Group(of_language, LANGUAGE_MUON_RATE, LANGUAGE_ADAM_RATE),
            Group([*of_tower, *head.named_parameters()], TOWER_MUON_RATE, TOWER_ADAM_RATE),
        ]
    )
    steps = settings.stage2_steps
    loop = Loop("stage2", settings, rank, steps, {"model": model, "head": head}, optimiser)
    answers = [language.answer_ids(record) for record in images.records]
    plan = BatchPlan(len(images), settings.stage2_batch, settings.seed + 1, [len(ids) for ids in answers])

    def advance(step: int) -> dict[str, float]:
        indices = share(plan.step(step), rank, settings.processes)
        batch = images.batch(indices)
        text = language.sequences(batch.records, [answers[index] for index in indices])
        asked = text.labels >= 0
        with torch.autocast("cpu", torch.bfloat16):
            patches = tower(pixel_values=batch.pixels).last_hidden_state
            seen = image_tokens(model, patches, detach=step < DETACHED_STEPS)
            states = hidden_states(model, text.ids, text.attended, seen)
            # Only asked positions go through the vocabulary.
            logits = model.lm_head(states[asked])
        masks, boxes = head(patches.float())
        dense, dense_parts = loss_of(masks, boxes, batch)
        said, parts = language.loss(logits.float(), text.ids[asked], text.labels[asked], step / steps)
        (ANSWER_SHARE * said + dense).backward()
        return {"answer": said.item(), **parts, "mask": dense_parts[0], "box": dense_parts[1]}

    def review(step: int) -> None:
        chosen = [i for mod, count in REVIEW_IMAGES.items() for i in held_out.modality(mod)[:count]]
        model.eval()
        table = score(generate(model, language, held_out, chosen))
        model.train()
        for mod in REVIEW_IMAGES:
            row = table[mod]
            classes = " ".join(f"{code} {c['f1']}/{c['iou']}" for code, c in row["classes"].items())
            loop.say(f"answers {mod} macro-F1 {row['macro_f1']} IoU {row['mean_iou']} (F1/IoU: {classes})")

    loop.run(advance, review, {steps // 3, steps * 2 // 3, steps})
