"""Greedy answers of a model for held-out images, and their table.

Image by image and without the worker's grammar: `prelim eval` judges the final drafts of whole studies.
    python evaluate.py --model CHECKPOINT --data DATA [--split test] [-o metrics.json]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve whoever shares the cores

import torch
from tokenizers import Tokenizer
from transformers import Gemma3ForConditionalGeneration

from answers import CLASSES_OF
from data import PhantomImages
from loop import write_json
from metrics import Reading, score
from targets import Language
from tokenizer import END_OF_TURN, IMAGE, PAD

ANSWER_TOKENS = 160
IMAGES_AT_ONCE = 50


@torch.no_grad()
def generate(
    model: Gemma3ForConditionalGeneration, language: Language, images: PhantomImages, indices: list[int]
) -> list[Reading]:
    """Answers to the images at `indices`, modality by modality (prompts of a batch are then equally long)."""
    readings = []
    for mod in CLASSES_OF:
        mine = [index for index in indices if images.records[index]["mod"] == mod]
        for start in range(0, len(mine), IMAGES_AT_ONCE):
            batch = images.batch(mine[start : start + IMAGES_AT_ONCE])
            ids = torch.tensor([language.prompts[mod]] * len(batch.records))
            tokens = model.generate(
                input_ids=ids,
                pixel_values=batch.pixels,
                attention_mask=torch.ones_like(ids),
                token_type_ids=(ids == IMAGE).long(),
                max_new_tokens=ANSWER_TOKENS,
                do_sample=False,
                eos_token_id=END_OF_TURN,
                pad_token_id=PAD,
            )[:, ids.shape[1] :].tolist()
            answers = [row[: row.index(END_OF_TURN)] if END_OF_TURN in row else row for row in tokens]
            sure = confidences(model, language, batch.pixels, batch.records, answers)
            for record, said, likely in zip(batch.records, answers, sure, strict=True):
                text = language.tokenizer.decode(said, skip_special_tokens=False)
                readings.append(Reading(mod, record["findings"], text, likely))
    return readings


def confidences(
    model: Gemma3ForConditionalGeneration,
    language: Language,
    pixels: torch.Tensor,
    records: list[dict],
    answers: list[list[int]],
) -> list[list[float]]:
    """How likely the model held each finding it named: that the list goes on, times that this code is next."""
    text = language.sequences(records, [said + [END_OF_TURN] for said in answers])
    logits = model(
        input_ids=text.ids,
        attention_mask=text.attended,
        token_type_ids=(text.ids == IMAGE).long(),
        pixel_values=pixels,
    ).logits.float()
    likely = logits.softmax(-1).gather(-1, text.labels.clamp(min=0)[..., None])[..., 0]
    all_sure = []
    for ids, labels, chances in zip(text.ids, text.labels, likely, strict=True):
        sure, going_on = [], 1.0
        for previous, asked, chance in zip(ids.tolist(), labels.tolist(), chances.tolist(), strict=True):
            if asked in language.going_on:
                going_on = chance
            elif asked >= 0 and previous == language.code_mark:
                sure.append(going_on * chance)
        all_sure.append(sure)
    return all_sure


def evaluate(checkpoint: Path, data: Path, split: str) -> dict:
    """The table of a checkpoint folder on one split, computed in f32."""
    model = Gemma3ForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    language = Language(Tokenizer.from_file(str(checkpoint / "tokenizer.json")))
    images = PhantomImages(data, split)
    return score(generate(model, language, images, list(range(len(images)))))


def show(table: dict) -> None:
    """The table for people."""
    for mod, row in table.items():
        print(f"{mod}: " + ", ".join(f"{name} {value}" for name, value in row.items() if name != "classes"))
        for code, values in row["classes"].items():
            print(f"  {code:20}" + "  ".join(f"{name} {value}" for name, value in values.items()))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Judge a checkpoint on held-out phantom images.")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of phantom chunks")
    parser.add_argument("--split", default="test", help="which chunks (default: test)")
    parser.add_argument("-o", "--output", type=Path, help="where to write the table as JSON")
    arguments = parser.parse_args()
    table = evaluate(arguments.model, arguments.data, arguments.split)
    show(table)
    if arguments.output:
        write_json(arguments.output, table)


if __name__ == "__main__":
    main()
