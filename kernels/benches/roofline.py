#!/usr/bin/env python3
"""What the CUDA kernels could do, modelled: no GPU has run them, and nothing here was measured on one.

For each kernel and architecture: registers, blocks and warps that fit a multiprocessor, and the instruction mix of the innermost
loop with most products, with the share of the tensor cores' peak that its issue slots and pipes allow at best. (Attention at
D = 256 has a second such loop, and the softmax between the two: its share says nothing about the whole.) Then the roofline of
MedGemma 4B's shapes with weights in 16 bits, int8 and int4: FLOPs and bytes of an image, a prompt and a generated token at batch 1, 32
and 128, and the time that they take at least: what norms and packing move is told beside it and comes on top, as do starting kernels
and gaps between them. Products count what their
tiles compute, empty rows included, at the share that the loop of their shape allows: unpacking whole numbers costs issue slots, which
decides for int4 where few rows share a weight.

    target/cuda/bin/python kernels/benches/roofline.py [ARCHITECTURE ...]     (sm_80, sm_89 and sm_90a where none is named)

Reads what `cargo test -p prelim-kernels --test cuda compile` leaves in target/cuda/kernels.
"""
import collections
import itertools
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = ROOT / "target/cuda/kernels"

# Threads, blocks, registers and bytes of shared memory of a multiprocessor, and shared memory of a block at most (CUDA C++
# Programming Guide, "Technical Specifications per Compute Capability").
LIMITS = {
    "80": (2048, 32, 65536, 164 << 10, 163 << 10),
    "86": (1536, 16, 65536, 100 << 10, 99 << 10),
    "89": (1536, 24, 65536, 100 << 10, 99 << 10),
    "90a": (2048, 32, 65536, 228 << 10, 227 << 10),
    "100a": (2048, 32, 65536, 228 << 10, 227 << 10),
}
# Peak of f16 products with f32 sums in TFLOP/s, and TB/s of memory (data sheets). mma.sync reaches about 62 % of the peak of
# sm_90 (published: FlashAttention-2 there 35 %, FlashAttention-3 with wgmma 75 %).
CARDS = {"80": ("A100", 312.0, 2.0), "89": ("RTX 4090", 165.0, 1.01), "90a": ("H100", 989.0, 3.35)}
MULTIPROCESSORS = {"80": 108, "89": 128, "90a": 132}
MMA_SYNC_SHARE = {"80": 1.0, "89": 1.0, "90a": 0.62}
# Share of the peak that hand-written BF16 products reach on an A100 (published): what a main loop allows is never reached.
REACHED_BY_HAND = 0.71
# Share of the peak that FlashAttention-2 reaches at most (published).
ATTENTION_REACHED = {"80": 0.73, "89": 0.73, "90a": 0.35}
# Share of memory bandwidth that streaming kernels reach (published: f16 GEMV on A30 about 80 %).
STREAMED_SHARE = 0.8

# Cycles that a warp's instruction takes on its pipe, on one of the four partitions of an sm_80 multiprocessor.
PIPES = {
    "HMMA": ("tensor", 8), "MUFU": ("special", 8), "FFMA": ("fma", 2), "FMUL": ("fma", 2), "FADD": ("fma", 2),
    "IMAD": ("fma", 2), "LDSM": ("memory", 8), "LDS": ("memory", 2), "STS": ("memory", 2), "LDG": ("memory", 4),
    "STG": ("memory", 4), "LDGSTS": ("memory", 4), "SHFL": ("memory", 2), "F2F": ("special", 8), "F2FP": ("alu", 2),
}

# Threads and dynamic shared memory of the kernels that have a main loop: as kernels/src/cuda/{attention,dense}.rs launch them.
GEOMETRY = {
    "attend_wide_F16_80": (128, (64 + 128) * 80 * 2),
    "attend_wide_F16_256": (256, (64 + 128) * 256 * 2 + 64 * (128 + 8 + 64)),
    "attend_small_F16_256": (128, (32 + 128) * 256 * 2 + 32 * (128 + 8 + 64)),
    "attend_narrow_F16_256": (128, (16 + 128) * 256 * 2 + 16 * (128 + 16 + 64)),
    "linear_large_F16": (256, 256 * 4 * 32 * 2),
    "gated_large_F16": (256, 256 * 4 * 32 * 2),
    "linear_medium_F16": (128, 128 * 4 * 32 * 2),
    "linear_skinny_F16": (64, 48 * 8 * 64 * 2),
    # Rows in 16 bits, columns in eight or four with their scales.
    "linear_int8_large_F16": (256, 4 * 32 * (128 * 2 + 128) + 4 * 128 * 2),
    "linear_int8_medium_F16": (128, 4 * 32 * (64 * 2 + 64) + 4 * 64 * 2),
    "linear_int8_skinny_F16": (64, 8 * 64 * (16 * 2 + 32) + 8 * 2 * 32 * 2),
    "linear_int4_large_F16": (256, 4 * 32 * (128 * 2 + 64) + 4 * 128 * 2),
    "linear_int4_medium_F16": (128, 4 * 32 * (64 * 2 + 32) + 4 * 64 * 2),
    "linear_int4_skinny_F16": (64, 8 * 64 * (16 * 2 + 16) + 8 * 2 * 32 * 2),
}
# The same of kernels that are bound by bytes, as kernels/src/cuda/{norm,packed,attention,dense,vision,choose}.rs launch them.
GEOMETRY_OF_STREAMS = {
    "rms_norm_F16": (256, 32), "add_rms_norm_F16": (256, 32), "layer_norm_F16": (256, 32), "add_rows": (128, 0),
    "pack_rows_F16": (128, 16), "pack_patches_F16": (128, 16), "pack_heads_F16": (128, 0), "average_pool": (128, 0),
    "embed_F16": (128, 0), "rope_angles": (128, 0), "store_keys_values_F16": (128, 0), "activate": (128, 0),
    "attend_merge_256": (128, 0), "choose_largest": (256, 64), "choose_sums": (256, 64), "choose_narrow": (256, 16 * 16 * 16 + 56),
    "choose_finish": (256, 2 * 64 + 258 * 4 + 65 * 8),
}


def registers(architecture):
    """Registers of each kernel."""
    found, name = {}, None
    for log in BUILT.glob(f"*.sm_{architecture}.log"):
        for line in log.read_text().splitlines():
            if match := re.search(r"Compiling entry function '(\w+)'", line):
                name = match[1]
            if match := re.search(r"Used (\d+) registers", line):
                found[name] = int(match[1])
    return found


def blocks(architecture, kernel, registers_each):
    """Blocks of a kernel that fit a multiprocessor; 0 where one does not fit."""
    threads, shared = (GEOMETRY | GEOMETRY_OF_STREAMS)[kernel]
    max_threads, max_blocks, all_registers, all_shared, block_shared = LIMITS[architecture]
    if shared > block_shared:
        return 0
    warps = threads // 32
    warp_registers = -(-registers_each * 32 // 256) * 256
    # 1 KiB of each block is the system's.
    return min(max_blocks, max_threads // threads, all_registers // 4 // warp_registers * 4 // warps, all_shared // (shared + 1024))


def main_loops(architecture):
    """Of each kernel the innermost loop with most products: its instructions, by pipe."""
    loops = {}
    tool = sorted(ROOT.glob("target/cuda/lib/python3*/site-packages/nvidia/cu13/bin/cuobjdump"))[-1]
    for cubin in (BUILT / f"{name}.sm_{architecture}.cubin" for name in ("attend", "linear")):
        text = subprocess.run([tool, "-sass", cubin], capture_output=True, text=True, check=True).stdout
        for name, body in re.findall(r"Function : (\S+)(.*?)(?=Function :|\Z)", text, re.S):
            found = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);", body)
            code = [(int(at, 16), operation, rest) for at, operation, rest in found]
            ends = [(int(m[1], 16), at) for at, op, rest in code if op == "BRA" and (m := re.search(r"0x([0-9a-f]+)", rest))]
            best = collections.Counter()
            for low, high in ends:
                if low >= high:
                    continue
                mix = collections.Counter(op.split(".")[0] for at, op, _ in code if low <= at <= high)
                inner = any(low <= l and h <= high and (l, h) != (low, high) and l < h for l, h in ends)
                if mix["HMMA"] > best["HMMA"] and not inner or not best["HMMA"] and mix["HMMA"]:
                    best = mix
            loops[name] = best
    return loops


def ceiling(mix):
    """Share of the tensor pipe's peak that the loop allows: the busiest pipe or the issue slots decide."""
    pipes = collections.Counter()
    for operation, count in mix.items():
        pipe, cycles = PIPES.get(operation, ("alu", 2))
        pipes[pipe] += count * cycles
    return pipes["tensor"] / max(max(pipes.values()), sum(mix.values())) if mix else 0.0


# MedGemma 4B: Gemma 3 4B and SigLIP so400m at 896 px (shapes from memory, as published).
HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, WIDE, VOCABULARY = 2560, 34, 8, 4, 256, 10240, 262208
V_HIDDEN, V_LAYERS, V_WIDE, PATCHES = 1152, 27, 4304, 4096
IMAGE_TOKENS, PROMPT, OUTPUT = 256, 356, 120
TEXT_WEIGHTS = LAYERS * (HIDDEN * (HEADS + 2 * KV_HEADS) * HEAD + HEADS * HEAD * HIDDEN + 3 * HIDDEN * WIDE)
VISION_WEIGHTS = V_LAYERS * (4 * V_HIDDEN**2 + 2 * V_HIDDEN * V_WIDE)


# Bytes of a weight of the decoder: whole numbers have a scale of two bytes for each 32.
WEIGHT_BYTES = {"f16": 2.0, "int8": 1 + 2 / 32, "int4": 0.5 + 2 / 32}
# Outputs, inputs and how many there are of the tower's products and of the decoder's; the head is one more, of fewer rows.
V_PRODUCTS = [(3 * V_HIDDEN, V_HIDDEN, V_LAYERS), (V_HIDDEN, V_HIDDEN, V_LAYERS), (V_WIDE, V_HIDDEN, V_LAYERS), (V_HIDDEN, V_WIDE, V_LAYERS)]
PRODUCTS = [
    ((HEADS + 2 * KV_HEADS) * HEAD, HIDDEN, LAYERS), (HIDDEN, HEADS * HEAD, LAYERS), (2 * WIDE, HIDDEN, LAYERS), (HIDDEN, WIDE, LAYERS),
]
HEAD_PRODUCT = [(VOCABULARY, HIDDEN, 1)]


def shape(rows, outputs, multiprocessors):
    """The shape of a product's tiles, their rows and columns: as kernels/src/cuda/dense.rs chooses it."""
    if rows <= 16:
        return "skinny", 16, 32
    if -(-rows // 128) * -(-outputs // 128) >= multiprocessors:
        return "large", 128, 128
    return "medium", 64, 64


def products(architecture, loops, stored, of_rows):
    """Seconds of products by the tensor cores alone: `of_rows` has rows with the outputs, inputs and number of products."""
    _, peak, _ = CARDS[architecture]
    seconds = 0.0
    for rows, all_of_them in of_rows:
        for outputs, inputs, count in all_of_them:
            name, high, wide = shape(rows, outputs, MULTIPROCESSORS[architecture])
            computed = 2 * (-(-rows // high) * high) * (-(-outputs // wide) * wide) * inputs * count
            loop = loops[f"linear_{name}_F16" if stored == "f16" else f"linear_{stored}_{name}_F16"]
            share = MMA_SYNC_SHARE[architecture] * min(ceiling(loop), REACHED_BY_HAND)
            seconds += computed / (peak * 1e12 * share)
    return seconds


def work(batch, stored):
    """Products, FLOPs of attention, and bytes, of `batch` images, of their prompts, and of a token of each answer."""
    image = [(batch * PATCHES, V_PRODUCTS)], batch * V_LAYERS * 4 * PATCHES**2 * V_HIDDEN
    prompt = [(batch * PROMPT, PRODUCTS), (batch, HEAD_PRODUCT)], batch * LAYERS * 2 * PROMPT**2 * HEADS * HEAD
    token = [(batch, PRODUCTS + HEAD_PRODUCT)], batch * LAYERS * 4 * (PROMPT + OUTPUT // 2) * HEADS * HEAD
    keys = LAYERS * 2 * KV_HEADS * HEAD * 2
    weights = WEIGHT_BYTES[stored] * (TEXT_WEIGHTS + HIDDEN * VOCABULARY)
    return {
        "image": (*image, 2 * VISION_WEIGHTS + batch * PATCHES * V_HIDDEN * V_LAYERS * 40),
        "prompt": (*prompt, weights + batch * PROMPT * (keys + HIDDEN * LAYERS * 40)),
        "token": (*token, weights + batch * (PROMPT + OUTPUT // 2) * keys),
    }


def streamed(batch):
    """Bytes of norms, packing, keys and values: of all layers, by kernels of their own."""
    rows = HIDDEN * (4 * 4 + 2) * 2 + (HEADS * HEAD + WIDE) * 6 + (HEADS * 8 + 2 * KV_HEADS * 6) * HEAD
    patches = V_HIDDEN * 10 * 2 + (V_HIDDEN + V_WIDE) * 6 + 2 * V_HIDDEN * 6
    return {"image": batch * PATCHES * V_LAYERS * patches, "prompt": batch * PROMPT * LAYERS * rows, "token": batch * LAYERS * rows}


# What a PCIe 4.0 x16 link carries in practice, in GB/s: logits went over it before tokens were chosen on the device.
LINK = 25.0


def choosing(rows, bandwidth):
    """Seconds to choose greedily under a grammar: scores and masks are read twice. And seconds that the scores take over the link."""
    return rows * 2 * VOCABULARY * (4 + 1 / 8) / (bandwidth * STREAMED_SHARE * 1e12), rows * 4 * VOCABULARY / (LINK * 1e9)


def main():
    architectures = [name.removeprefix("sm_") for name in sys.argv[1:]] or ["80", "89", "90a"]
    print("Modelled. No GPU has run these kernels.\n")
    for architecture in architectures:
        used, loops = registers(architecture), main_loops(architecture)
        print(f"sm_{architecture}: kernel, registers, blocks of a multiprocessor, warps, main loop, tensor cores busy at best")
        for kernel in GEOMETRY:
            count = blocks(architecture, kernel, used[kernel])
            mix = loops[kernel]
            shown = " ".join(f"{operation} {number}" for operation, number in mix.most_common(6))
            warps = count * GEOMETRY[kernel][0] // 32
            fits = f"{count} blocks, {warps} warps" if count else "does not fit"
            print(f"  {kernel:24} {used[kernel]:3}  {fits:21} {ceiling(mix):4.0%}  {shown}")
        print("  bound by bytes: registers, warps of a multiprocessor")
        names = list(GEOMETRY_OF_STREAMS)
        for three in (names[at : at + 3] for at in range(0, len(names), 3)):
            warps = {name: blocks(architecture, name, used[name]) * GEOMETRY_OF_STREAMS[name][0] // 32 for name in three}
            print("  " + "".join(f"{name:22} {used[name]:3} {warps[name]:3}   " for name in three).rstrip())
        if architecture not in CARDS:
            continue
        card, peak, bandwidth = CARDS[architecture]
        share = MMA_SYNC_SHARE[architecture]
        dense = {
            stored: share * min(ceiling(loops[f"linear_{name}large_F16"]), REACHED_BY_HAND)
            for stored, name in [("f16", ""), ("int8", "int8_"), ("int4", "int4_")]
        }
        attention = min(share * ceiling(loops["attend_wide_F16_80"]), ATTENTION_REACHED[architecture])
        large = ", ".join(f"{part:.0%} ({stored})" for stored, part in dense.items())
        print(f"  MedGemma 4B on {card}, large products at {large} and attention at {attention:.0%} of {peak:.0f} TFLOP/s,")
        print(f"  {STREAMED_SHARE:.0%} of {bandwidth} TB/s:")
        for stored, batch in itertools.product(WEIGHT_BYTES, (1, 32, 128)):
            times, limits, counted = {}, {}, []
            for name, (of_rows, attended, moved) in work(batch, stored).items():
                flops = sum(2 * rows * outputs * inputs * count for rows, them in of_rows for outputs, inputs, count in them)
                counted.append(f"{name} {(flops + attended) / 1e12:.3g} TFLOP, {moved / 1e9:.3g} GB")
                # The tower is not quantised.
                kept = "f16" if name == "image" else stored
                arithmetic = products(architecture, loops, kept, of_rows) + attended / (peak * 1e12 * attention)
                memory = moved / (bandwidth * STREAMED_SHARE * 1e12)
                times[name], limits[name] = max(arithmetic, memory), "arithmetic" if arithmetic > memory else "memory"
            whole = times["image"] + times["prompt"] + OUTPUT * times["token"]
            parts = ", ".join(f"{name} {seconds * 1e3:.1f} ms ({limits[name]})" for name, seconds in times.items())
            print(f"    {stored:4} batch {batch:3}: {parts}; {batch / whole:.1f} reports/s of {OUTPUT} tokens")
            print(f"      {'; '.join(counted)}")
            if stored != "f16":
                continue
            beside = ((name, moved / (bandwidth * STREAMED_SHARE * 1e12)) for name, moved in streamed(batch).items())
            print("      norms, packing, keys and values on top:", ", ".join(f"{name} {took * 1e3:.3g} ms" for name, took in beside))
            here, over_link = choosing(batch, bandwidth)
            print(f"      choosing its tokens {here * 1e6:.0f} µs; its logits over PCIe {over_link * 1e6:.0f} µs")
    print("\nPublished, for comparison: FlashAttention-2 50 to 73 % of an A100's peak and about 35 % of an H100's; BF16 products by hand")
    print("71 % of an A100's peak, cuBLAS 78 %; paged decode on an H100 15 to 47 % of its bandwidth; GEMV on an A30 about 80 %.")


if __name__ == "__main__":
    main()
