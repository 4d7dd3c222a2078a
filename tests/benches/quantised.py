"""What `transformers` with `compressed-tensors` makes of a checkpoint that `prelim quantize` wrote.

pip install -r tests/benches/requirements.txt && python tests/benches/quantised.py
Quantises the demonstration model, leaves its table of embeddings as transformers wants it, and compares logits of one prompt:
those of both programs on the quantised weights, and, to see what quantising changes at all, with the weights as they were.
Ends with an error where the programs differ by more than transformers' own rounding to bf16 explains.
"""
import argparse
import pathlib
import subprocess
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

ROOT = pathlib.Path(__file__).parents[2]
PROMPT = "<bos><start_of_turn>user\n<start_of_image>what?<end_of_turn>\n<start_of_turn>model\n"


def prelim(*arguments):
    subprocess.run([ROOT / "target/release/prelim", *map(str, arguments)], check=True)


def ours(folder, scratch):
    (scratch / "prompt.txt").write_text(PROMPT)
    picture = ROOT / "tests/data/parity/tiny-gemma3/image0.png"
    out = scratch / "out.safetensors"
    prelim("logits", "--model", folder, "--prompt", scratch / "prompt.txt", "--image", picture, "-o", out)
    return load_file(out)


def theirs(folder, inputs):
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    ids = inputs["input_ids"]
    soft = (ids == model.config.image_token_id).long()
    with torch.no_grad():
        return model(input_ids=ids, token_type_ids=soft, pixel_values=inputs["pixel_values"].bfloat16()).logits.float()


def distance(a, b):
    return (a - b).abs().max().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "worker/demo-model/checkpoint")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        whole = ours(model, scratch)
        rounding = distance(theirs(model, whole), whole["logits"])
        print(f"not quantised: prelim and transformers differ by {rounding:.3f} at most")
        for weights in ["int8", "int4"]:
            prelim("quantize", "--model", model, "--to", scratch / weights, "--weights", weights, "--leave-embedding")
            quantised = ours(scratch / weights, scratch)
            found = distance(theirs(scratch / weights, quantised), quantised["logits"])
            changed = distance(quantised["logits"], whole["logits"])
            print(f"{weights}: they differ by {found:.3f} at most; quantising changed logits by {changed:.3f}")
            assert found < 1.5 * rounding, "the two programs do not read the same weights"


if __name__ == "__main__":
    main()
