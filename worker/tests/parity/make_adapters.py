"""Adapters of the tiny checkpoint, by PEFT, and the logits that it computes with them.

Run with transformers 5.23.0, torch 2.15.0 and peft 0.21.2: python worker/tests/parity/make_adapters.py
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

DATA = pathlib.Path(__file__).resolve().parents[3] / "tests/data/parity"
BASE, OUT = DATA / "tiny-gemma3", DATA / "tiny-gemma3-adapters"

# Everything that PEFT calls a linear layer, tower and decoder; and two layers of the decoder, scaled otherwise.
CONFIGS = {
    "all-linear": LoraConfig(r=4, lora_alpha=10, target_modules="all-linear"),
    "attention": LoraConfig(
        r=3,
        lora_alpha=5,
        use_rslora=True,
        target_modules=r".*language_model.*\.(q_proj|v_proj)",
        alpha_pattern={"layers.2.self_attn.v_proj": 9},
        rank_pattern={"layers.1.self_attn.q_proj": 2},
    ),
}


def drawn(model, seed):
    """PEFT begins with B of zeros, which change nothing: draw all."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            spread = 0.06 if "lora_B" in name else 0.5
            parameter.data = torch.randn(parameter.shape, generator=generator) * spread


for seed, (name, config) in enumerate(CONFIGS.items()):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    base = AutoModelForImageTextToText.from_pretrained(BASE, dtype=torch.float32, attn_implementation="eager").eval()
    model = get_peft_model(base, config).eval()
    drawn(model, seed)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    settings = json.loads((folder / "adapter_config.json").read_text())
    # Where the base model lies on the machine of whoever made the adapter.
    settings["base_model_name_or_path"] = "tiny-gemma3"
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    golden = {}
    for case in ["one_image_f32", "text_only_f32"]:
        inputs = load_file(BASE / f"golden_{case}.safetensors")
        names = ["input_ids", "token_type_ids", "attention_mask", "pixel_values"]
        with torch.no_grad():
            logits = model(**{key: inputs[key] for key in names if key in inputs}).logits
        golden[f"{case}.logits"] = logits.float().contiguous()
        print(name, case, (logits - inputs["logits"]).abs().max().item(), "changed at most")
    save_file(golden, folder / "golden.safetensors")
