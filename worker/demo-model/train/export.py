"""Writes the checkpoint in the layout of the Hugging Face hub.

usage: python export.py SCRATCH_FOLDER CHECKPOINT_FOLDER
The reading profile (prelim.json), the chat template and the model card are kept by hand beside the weights.
"""
import json
import os
import sys

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, PreTrainedTokenizerFast

from model import IMAGE, IMAGE_TOKENS, build
from tokenizer import SPECIAL


def main(folder, out):
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    model = build(tokenizer.get_vocab_size())
    model.load_state_dict(torch.load(os.path.join(folder, "vlm.pt"))["model"])
    model = model.to(torch.bfloat16)
    model.config.dtype = "bfloat16"
    model.generation_config = GenerationConfig(bos_token_id=2, eos_token_id=[1, 5], pad_token_id=0, do_sample=False, max_new_tokens=160)
    model.save_pretrained(out)
    names = dict(bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", pad_token="<pad>", additional_special_tokens=SPECIAL[4:],
                 clean_up_tokenization_spaces=False)
    PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"), **names).save_pretrained(out)
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    processor = {
        "image_processor_type": "Gemma3ImageProcessor", "do_resize": True, "resample": 2, "size": {"height": IMAGE, "width": IMAGE},
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "image_seq_length": IMAGE_TOKENS}
    with open(os.path.join(out, "preprocessor_config.json"), "w") as file:
        json.dump(processor, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
