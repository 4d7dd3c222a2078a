"""A checkpoint folder in Hugging Face form from a finished stage 2: what `prelim up --model DIR` takes.

The configuration is written so that old and new releases of transformers, and readers that know only one form, take
it: new names (`dtype`, `rope_parameters`, `layer_types`) beside old ones (`torch_dtype`, `rope_theta`,
`rope_local_base_freq`, `sliding_window_pattern`).
"""

import hashlib
import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig

from evaluate import ANSWER_TOKENS
from loop import Settings, write_json
from model import new_model
from tokenizer import BOS, END_OF_TURN, EOS, PAD, SPECIAL_TOKENS

# Files that training does not make: they are kept from the checkpoint in the repository.
KEPT = ["chat_template.jinja", "prelim.json", "preprocessor_config.json"]
MARKERS = SPECIAL_TOKENS[4:]


def export(settings: Settings, kept_from: Path, folder: Path) -> None:
    """Writes the bf16 checkpoint of `settings.out` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_path = settings.out / "tokenizer.json"
    model = new_model(Tokenizer.from_file(str(tokenizer_path)).get_vocab_size())
    model.load_state_dict(torch.load(settings.out / "stage2.pt", weights_only=True)["model"])
    model = model.to(torch.bfloat16)
    model.config.dtype = "bfloat16"
    model.generation_config = GenerationConfig(
        bos_token_id=BOS,
        eos_token_id=[EOS, END_OF_TURN],
        pad_token_id=PAD,
        do_sample=False,
        max_new_tokens=ANSWER_TOKENS,
    )
    model.save_pretrained(folder)
    _name_both_ways(folder / "config.json")
    shutil.copyfile(tokenizer_path, folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", _tokenizer_config())
    for name in KEPT:
        if (kept_from / name).resolve() != (folder / name).resolve():
            shutil.copyfile(kept_from / name, folder / name)
    _drop_impression(folder / "prelim.json")
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    print(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB, sha256 {digest}", flush=True)


def _name_both_ways(path: Path) -> None:
    config = json.loads(path.read_text())
    text, vision = config["text_config"], config["vision_config"]
    for part in (config, text, vision):
        part["dtype"] = part["torch_dtype"] = "bfloat16"
        part.pop("_attn_implementation", None)
    ropes = text["rope_parameters"]
    text["rope_theta"] = ropes["full_attention"]["rope_theta"]
    text["rope_local_base_freq"] = ropes["sliding_attention"]["rope_theta"]
    text["rope_scaling"] = None
    text["sliding_window_pattern"] = text.pop("_sliding_window_pattern", text.get("sliding_window_pattern"))
    write_json(path, config)


def _tokenizer_config() -> dict:
    return {
        # The oldest generic class: every release loads tokenizer.json through it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "additional_special_tokens": MARKERS,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }


def _drop_impression(path: Path) -> None:
    """The profile of a model whose answers are findings only."""
    profile = json.loads(path.read_text())
    for kind in profile["kinds"].values():
        kind["impression_chars"] = 0
    write_json(path, profile)
