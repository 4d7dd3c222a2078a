"""Passes of Gemma 3 by transformers, timed: an answer on stdout for each line on stdin."""
import json
import resource
import sys
import time

import torch
from transformers import AutoModelForImageTextToText

folder, threads, dtype, words, steps, batches, _ = sys.argv[1:8]
torch.set_num_threads(int(threads))
began = time.perf_counter()
model = AutoModelForImageTextToText.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
load_s = time.perf_counter() - began
config, text, vision = model.config, model.config.text_config, model.config.vision_config
# As many tokens as a prompt with its image; that these are words changes no cost.
length = int(words) + config.mm_tokens_per_image


def timed(run):
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


@torch.inference_mode()
def measure(batch):
    side = vision.image_size
    pixels = (torch.arange(batch * 3 * side * side) % 251 / 125 - 1).reshape(batch, 3, side, side).to(model.dtype)
    encode_s, _ = timed(lambda: model.get_image_features(pixels))
    ids = (20 + torch.arange(length) * 7919 % (text.vocab_size - 60)).repeat(batch, 1)
    prefill_s, out = timed(lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1))

    def generate():
        last, cache = ids[:, :1], out.past_key_values
        for _ in range(int(steps)):
            cache = model(input_ids=last, past_key_values=cache, use_cache=True, logits_to_keep=1).past_key_values

    step_s = timed(generate)[0] / int(steps)
    return {"encode_s": encode_s, "prefill_s": prefill_s, "step_s": step_s}


print(json.dumps({"load_s": load_s, "version": __import__("transformers").__version__}), flush=True)
for _ in sys.stdin:
    times = [measure(int(batch)) for batch in batches.split(",")]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"times": times, "peak_mib": peak_mib}), flush=True)
