"""prelim beside `transformers`: the same checkpoint reads the same studies, taking turns, in 32-bit floats on the CPU.

usage: python tests/benches/peer.py [--prelim FILE] [--model DIR] [--count N] [--runs N] [--json]

The peer is what a Python program would be: pydicom, numpy, Gemma3Processor and generate() over batches, greedy, with no
grammar. It reads every image of every study with the prompts of the model's prelim.json, and stops at the answers' text:
it merges nothing, stores nothing and writes no report. Each of its runs is a process of its own, as each of ours is, and
loading is counted for neither. Needs requirements.txt beside this file and a checkpoint whose prelim.json shows one image
to a prompt.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BATCHES = (1, 16)


def picture(path, windows):
    """An X-ray as grey, or a CT slice as three windows, and what kind of image it is."""
    import numpy as np
    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    dataset = pydicom.dcmread(path)
    if dataset.Modality == "CT":
        hu = apply_modality_lut(dataset.pixel_array, dataset)
        channels = [np.clip((hu - low) / (high - low) * 255, 0, 255) for low, high in windows]
        return "ct", dataset.StudyInstanceUID, Image.fromarray(np.stack(channels, 2).astype(np.uint8))
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
    values = (values - values.min()) / max(1.0, np.ptp(values)) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = 255 - values
    return "xray", dataset.StudyInstanceUID, Image.fromarray(values.round().astype(np.uint8)).convert("RGB")


def read(model_folder, studies, batch):
    """One run of the peer; prints a JSON object."""
    import torch
    from transformers import AutoTokenizer, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3Processor

    profile = json.load(open(os.path.join(model_folder, "prelim.json")))["kinds"]
    model = Gemma3ForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).eval()
    processor_config = json.load(open(os.path.join(model_folder, "preprocessor_config.json")))
    tokenizer = AutoTokenizer.from_pretrained(
        model_folder, padding_side="left",
        extra_special_tokens={"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"})
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor.from_pretrained(model_folder), tokenizer=tokenizer,
        chat_template=open(os.path.join(model_folder, "chat_template.jinja")).read(),
        image_seq_length=processor_config.get("image_seq_length", model.config.mm_tokens_per_image))
    text = {}
    for kind, about in profile.items():
        content = [{"type": "image"}, {"type": "text", "text": about["prompt"]}]
        text[kind] = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(studies) for name in names if name.endswith(".dcm")]

    began = time.perf_counter()
    pictures, uids, spent = {}, set(), {"decode": 0.0, "model": 0.0}
    for path in sorted(files):
        kind, uid, image = picture(path, profile["ct"]["windows_hu"])
        pictures.setdefault(kind, []).append(image)
        uids.add(uid)
    spent["decode"] = time.perf_counter() - began
    tokens = 0
    with torch.inference_mode():
        for kind, images in pictures.items():
            for first in range(0, len(images), batch):
                some = images[first : first + batch]
                inputs = processor(text=[text[kind]] * len(some), images=[[image] for image in some], return_tensors="pt")
                asked = time.perf_counter()
                out = model.generate(**inputs, max_new_tokens=profile[kind]["max_new_tokens"], do_sample=False)
                spent["model"] += time.perf_counter() - asked
                answers = out[:, inputs["input_ids"].shape[1] :]
                tokens += int((answers != model.generation_config.pad_token_id).sum())
    seconds = time.perf_counter() - began
    print(json.dumps({
        "studies": len(uids), "seconds": seconds, "studies_per_minute": 60 * len(uids) / seconds, "generated_tokens": tokens,
        "model_ms_per_study": 1e3 * spent["model"] / len(uids), "decode_ms_per_study": 1e3 * spent["decode"] / len(uids),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def ours(binary, model, studies):
    command = [binary, "bench", "--runs", "1", "--json", "--weights", "f32", "--model", model, studies]
    run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    stages = {stage["stage"]: stage["ms_per_study"] for stage in run["stages"]}
    run["model_ms_per_study"] = sum(stages[name] for name in ("vision", "prefill", "generation"))
    run["decode_ms_per_study"] = stages["decode"]
    return run


def peer(model, studies, batch):
    command = [sys.executable, os.path.abspath(__file__), "--model", model, "--read", studies, "--batch", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"transformers did not read the studies:\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prelim", default=os.path.join(ROOT, "target/release/prelim"))
    parser.add_argument("--model", default=os.path.join(ROOT, "worker/demo-model/checkpoint"))
    parser.add_argument("--count", type=int, default=20, help="phantom studies")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.read:
        return read(a.model, a.read, a.batch)
    with tempfile.TemporaryDirectory() as studies:
        draw = [a.prelim, "phantom", "--out", studies, "--count", str(a.count), "--seed", "1", "--json"]
        subprocess.run(draw, check=True, stdout=subprocess.DEVNULL)
        runs = {"prelim": []} | {f"transformers, batch {batch}": [] for batch in BATCHES}
        for number in range(a.runs):
            print(f"run {number + 1} of {a.runs} …", file=sys.stderr)
            runs["prelim"].append(ours(a.prelim, a.model, studies))
            for batch in BATCHES:
                runs[f"transformers, batch {batch}"].append(peer(a.model, studies, batch))
    keys = ["studies_per_minute", "model_ms_per_study", "decode_ms_per_study", "generated_tokens", "peak_memory_mib"]
    medians = {name: {key: statistics.median(run[key] for run in some) for key in keys} for name, some in runs.items()}
    machine = runs["prelim"][0]["machine"]
    if a.json:
        return print(json.dumps({"machine": machine, "medians": medians, "runs": runs}, indent=1))
    print(f"{machine}; f32; {a.count} studies; medians of {a.runs} runs")
    print(f"| {'':26} | studies/min | model ms a study | decode ms a study | tokens written | peak MiB |")
    print("|---|---|---|---|---|---|")
    for name, row in medians.items():
        print(f"| {name:26} | {row['studies_per_minute']:.1f} | {row['model_ms_per_study']:.0f} | {row['decode_ms_per_study']:.0f} | "
              f"{row['generated_tokens']:.0f} | {row['peak_memory_mib']:.0f} |")


if __name__ == "__main__":
    main()
