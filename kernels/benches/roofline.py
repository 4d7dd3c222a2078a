#!/usr/bin/env python3
"""What the CUDA kernels could do, modelled: no GPU has run them, and nothing here was measured on one.

For each kernel and architecture: registers, blocks and warps that fit a multiprocessor, and the instruction mix of the innermost
loop with most products, with the share of the tensor cores' peak that its issue slots and pipes allow at best. (Attention at
D = 256 has a second such loop, and the softmax between the two: its share says nothing about the whole. Heads of 64 and 128 are
other models', and are listed for those.) Then the roofline of
MedGemma 4B's shapes, kernel by kernel, for an image, a prompt and a generated token at batch 1, 32 and 128: FLOPs and bytes of a
call, the time that it takes at least, the share of the peak that this is, and what is published of such kernels. Last, what they add up to with weights in 16 bits,
int8 and int4. Starting kernels and gaps between them come on top. Products count what their tiles compute, empty rows included, at
the share that the loop of their shape allows: unpacking whole numbers costs issue slots, which decides for int4 where few rows
share a weight.

Reads what `cargo test --release --workspace --test cuda compile` leaves in target/cuda/kernels.
"""
import argparse
import collections
import functools
import itertools
import pathlib
import re
import subprocess
import sys
import typing

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = ROOT / "target/cuda/kernels"

# Threads, blocks, registers and bytes of shared memory of a multiprocessor, and shared memory of a block at most (CUDA C++
# Programming Guide, "Technical Specifications per Compute Capability").
LIMITS = {
    "80": (2048, 32, 65536, 164 << 10, 163 << 10),
    "86": (1536, 16, 65536, 100 << 10, 99 << 10),
    "89": (1536, 24, 65536, 100 << 10, 99 << 10),
    "90": (2048, 32, 65536, 228 << 10, 227 << 10),
    "100": (2048, 32, 65536, 228 << 10, 227 << 10),
}
# Peak of f16 products with f32 sums and of f32 in TFLOP/s, TB/s of memory, and multiprocessors (data sheets).
CARDS = {
    "80": ("A100", 312.0, 19.5, 2.0, 108),
    "86": ("A10", 125.0, 31.2, 0.6, 72),
    "89": ("RTX 4090", 165.0, 82.6, 1.01, 128),
    "90": ("H100", 989.0, 66.9, 3.35, 132),
    "100": ("B200", 2250.0, 75.0, 8.0, 148),
}
# mma.sync reaches about 62 % of the peak of sm_90 (published: FlashAttention-2 there 35 %, FlashAttention-3 with wgmma 75 %). Of
# sm_100 nothing is published that we know of: a multiprocessor is taken to do with mma.sync what one of sm_90 does.
MMA_SYNC_SHARE = {"80": 1.0, "86": 1.0, "89": 1.0, "90": 0.62, "100": 0.31}
# Share of the peak that hand-written BF16 products reach on an A100 (published): what a main loop allows is never reached.
REACHED_BY_HAND = 0.71
# Share of the peak that FlashAttention-2 reaches at most (published).
ATTENTION_REACHED = {"80": 0.73, "86": 0.73, "89": 0.73, "90": 0.35, "100": 0.17}
# The same with heads of 256 (published: 298 TFLOP/s on an H100; of others nothing that we know of).
ATTENTION_OF_256_REACHED = ATTENTION_REACHED | {"90": 0.30, "100": 0.15}
# Share of memory bandwidth that streaming kernels reach (published: f16 GEMV on A30 about 80 %).
STREAMED_SHARE = 0.8
# The same for paged decode (published: 64 sequences on an H100, 15 % at 32 positions and 47 % at 256; the contexts here have more).
DECODED_SHARE = 0.47

# What is published of kernels whose names begin so; the first that fits.
ANCHORS = [
    ("attend_narrow", "paged decode on an H100 15 to 47 % of bandwidth"),
    ("attend_merge", "none"),
    ("attend_wide_F16_256", "FlashAttention-2 with heads of 256 on an H100 21 to 30 %"),
    ("attend_small_F16_256", "FlashAttention-2 with heads of 256 on an H100 21 to 30 %"),
    ("attend", "FlashAttention-2 50 to 73 % on an A100, 35 % on an H100"),
    ("linear_skinny", "f16 GEMV on an A30 about 80 % of bandwidth"),
    ("gated_skinny", "f16 GEMV on an A30 about 80 % of bandwidth"),
    ("linear_int", "Marlin near 4 times f16 up to batch 16 to 32"),
    ("linear", "BF16 on an A100 71 % by hand, 78 % cuBLAS"),
    ("gated", "BF16 on an A100 71 % by hand, 78 % cuBLAS"),
    ("", "none"),
]

# Cycles that a warp's instruction takes on its pipe, on one of the four partitions of an sm_80 multiprocessor.
PIPES = {
    "HMMA": ("tensor", 8), "MUFU": ("special", 8), "FFMA": ("fma", 2), "FMUL": ("fma", 2), "FADD": ("fma", 2),
    "IMAD": ("fma", 2), "LDSM": ("memory", 8), "LDS": ("memory", 2), "STS": ("memory", 2), "LDG": ("memory", 4),
    "STG": ("memory", 4), "LDGSTS": ("memory", 4), "SHFL": ("memory", 2), "F2F": ("special", 8), "F2FP": ("alu", 2),
}

# Threads and dynamic shared memory of the kernels that have a main loop: as kernels/src/cuda/{attention,dense}.rs launch them.
GEOMETRY = {
    "attend_wide_F16_64": (128, (64 + 128) * 64 * 2),
    "attend_wide_F16_80": (128, (64 + 128) * 80 * 2),
    "attend_wide_F16_128": (128, (64 + 128) * 128 * 2),
    "attend_wide_F16_256": (256, (64 + 128) * 256 * 2 + 64 * (128 + 8 + 64)),
    "attend_small_F16_256": (128, (32 + 128) * 256 * 2 + 32 * (128 + 8 + 64)),
    "attend_narrow_F16_64": (128, (16 + 128) * 64 * 2 + 16 * (128 + 16 + 64)),
    "attend_narrow_F16_128": (128, (16 + 128) * 128 * 2 + 16 * (128 + 16 + 64)),
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


def anchor(kernel):
    """What is published of such kernels."""
    return next(said for beginning, said in ANCHORS if kernel.startswith(beginning))


def disassembler():
    """nvcc's cuobjdump, or None."""
    return max(ROOT.glob("target/cuda/lib/python3*/site-packages/nvidia/cu13/bin/cuobjdump"), default=None)


def missing(architecture):
    """What is to be run first, or None."""
    if disassembler() is None:
        return "there is no nvcc below target/cuda: run tests/install.sh"
    if all((BUILT / f"{name}.sm_{architecture}.{end}").is_file() for name in GEOMETRY | GEOMETRY_OF_STREAMS for end in ("log", "cubin")):
        return None
    return f"kernels for sm_{architecture} are not built: run cargo test --release --workspace --test cuda compile"


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
    tool = disassembler()
    for cubin in (cubin for kind in ("attend", "linear", "gated") for cubin in BUILT.glob(f"{kind}_*.sm_{architecture}.cubin")):
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
V_HIDDEN, V_LAYERS, V_WIDE, PATCHES, V_PIXELS = 1152, 27, 4304, 4096, 3 * 14 * 14
IMAGE_TOKENS, PROMPT, OUTPUT = 256, 356, 120
# Heads of 72 are computed as heads of 80; positions of a split (kernels/src/cuda.rs).
V_PADDED, SPLIT = 80 / 72, 256
BATCHES = (1, 32, 128)
# Bytes of a weight of the decoder: whole numbers have a scale of two bytes for each 32. The tower is not quantised.
WEIGHT_BYTES = {"f16": 2.0, "int8": 1 + 2 / 32, "int4": 0.5 + 2 / 32}


class Call(typing.NamedTuple):
    """What a kernel does in one call; `computed` counts empty rows, and columns that pad."""

    what: str
    kernel: str
    count: int
    flops: float
    computed: float
    moved: float


def product(architecture, stored, what, count, rows, outputs, inputs, gated=False):
    """A product: rows of 16 bits and weights in, 32 bits out, half as many where one half gates the other."""
    name, high, wide = shape(rows, outputs, CARDS[architecture][4])
    kernel = f"{'gated' if gated else 'linear'}_{'' if stored == 'f16' else stored + '_'}{name}_F16"
    computed = 2.0 * (-(-rows // high) * high) * (-(-outputs // wide) * wide) * inputs
    moved = WEIGHT_BYTES[stored] * outputs * inputs + 2 * rows * inputs + (2 if gated else 4) * rows * outputs
    return Call(what, kernel, count, 2.0 * rows * outputs * inputs, computed, moved)


def rowwise(what, kernel, count, values, flops, moved):
    """A kernel that takes so many FLOPs and bytes for each value."""
    return Call(what, kernel, count, flops * values, flops * values, moved * values)


def of_image(architecture, batch):
    """The tower and the projector."""
    rows, tokens, attended = batch * PATCHES, batch * IMAGE_TOKENS, 4.0 * batch * PATCHES**2 * V_HIDDEN
    dense = functools.partial(product, architecture, "f16")
    return [
        rowwise("pixels", "pack_patches_F16", 1, rows * V_PIXELS, 1, 6),
        dense("patches", 1, rows, V_HIDDEN, V_PIXELS),
        rowwise("norms", "layer_norm_F16", 2 * V_LAYERS + 1, rows * V_HIDDEN, 8, 10),
        dense("queries, keys, values", V_LAYERS, rows, 3 * V_HIDDEN, V_HIDDEN),
        rowwise("keys and values", "pack_heads_F16", V_LAYERS, rows * 2 * V_HIDDEN, 0, 4 + 2 * V_PADDED),
        Call("attention", "attend_wide_F16_80", V_LAYERS, attended, attended * V_PADDED, rows * V_HIDDEN * (8 + 4 * V_PADDED)),
        rowwise("attended", "pack_rows_F16", V_LAYERS, rows * V_HIDDEN, 2, 6),
        dense("output", V_LAYERS, rows, V_HIDDEN, V_HIDDEN),
        dense("up", V_LAYERS, rows, V_WIDE, V_HIDDEN),
        rowwise("between", "pack_rows_F16", V_LAYERS, rows * V_WIDE, 2, 6),
        dense("down", V_LAYERS, rows, V_HIDDEN, V_WIDE),
        rowwise("tokens", "average_pool", 1, tokens * V_HIDDEN, 17, 68),
        rowwise("norm of tokens", "rms_norm_F16", 1, tokens * V_HIDDEN, 4, 10),
        dense("projector", 1, tokens, HIDDEN, V_HIDDEN),
    ]


def of_text(architecture, batch, stored, is_prompt):
    """The decoder on prompts, or on a token of each answer half way through, and what is chosen next."""
    each, context = (PROMPT, PROMPT) if is_prompt else (1, PROMPT + OUTPUT // 2)
    rows, queries, kept = batch * each, HEADS * HEAD, 2 * KV_HEADS * HEAD
    dense = functools.partial(product, architecture, stored)
    embed = "embed_F16" if stored == "f16" else f"embed_{stored}_F16"
    # A token of a prompt sees half of it in the mean. A tile of a token has sixteen rows, of which its heads fill some.
    attended = 4.0 * rows * queries * (context / 2 if is_prompt else context)
    moved = batch * context * kept * 2 + rows * queries * 8
    if is_prompt:
        fits = LIMITS[architecture][4] >= GEOMETRY["attend_wide_F16_256"][1]
        attention = [Call("attention", f"attend_{'wide' if fits else 'small'}_F16_256", LAYERS, attended, attended, moved)]
    else:
        splits = -(-context // SPLIT)
        merged = batch * HEADS * splits * (HEAD + 2)
        attention = [
            Call("attention", "attend_narrow_F16_256", LAYERS, attended, attended * 16 * KV_HEADS / HEADS, moved),
            rowwise("sums of splits", "attend_merge_256", LAYERS, merged, 4, 4 + 4 / splits),
        ]
    return [
        rowwise("embedding", embed, 1, rows * HIDDEN, 1, WEIGHT_BYTES[stored] + 4),
        rowwise("angles", "rope_angles", 2, rows * HEAD // 2, 24, 8),
        rowwise("first norm", "rms_norm_F16", 1, rows * HIDDEN, 4, 10),
        dense("queries, keys, values", LAYERS, rows, queries + kept, HIDDEN),
        rowwise("keys and values", "store_keys_values_F16", LAYERS, rows * (queries + kept), 7, 7),
        *attention,
        rowwise("attended", "pack_rows_F16", LAYERS, rows * queries, 2, 6),
        dense("output", LAYERS, rows, HIDDEN, queries),
        rowwise("norms", "add_rms_norm_F16", 2 * LAYERS, rows * HIDDEN, 10, 18),
        dense("gate and up", LAYERS, rows, 2 * WIDE, HIDDEN, gated=True),
        rowwise("between", "pack_rows_F16", LAYERS, rows * WIDE, 2, 6),
        dense("down", LAYERS, rows, HIDDEN, WIDE),
        dense("scores", 1, batch, VOCABULARY, HIDDEN),
        rowwise("the largest", "choose_largest", 1, batch * VOCABULARY, 2, 4 + 1 / 8),
        rowwise("sums of scores", "choose_sums", 1, batch * VOCABULARY, 10, 4 + 1 / 8),
    ]


def calls(architecture, batch, stored):
    """What is called for an image, a prompt and a token of each of `batch` studies."""
    return {
        "image": of_image(architecture, batch),
        "prompt": of_text(architecture, batch, stored, is_prompt=True),
        "token": of_text(architecture, batch, stored, is_prompt=False),
    }


def shape(rows, outputs, multiprocessors):
    """The shape of a product's tiles, their rows and columns: as kernels/src/cuda/dense.rs chooses it."""
    if rows <= 16:
        return "skinny", 16, 32
    if -(-rows // 128) * -(-outputs // 128) >= multiprocessors:
        return "large", 128, 128
    return "medium", 64, 64


def reached(architecture, loops, kernel):
    """TFLOP/s that a kernel reaches at most."""
    _, tensor, single, _, _ = CARDS[architecture]
    if kernel.startswith("attend_merge") or not kernel.startswith(("linear", "gated", "attend")):
        return single
    share = MMA_SYNC_SHARE[architecture]
    if kernel == "attend_wide_F16_80":
        return tensor * min(share * ceiling(loops[kernel]), ATTENTION_REACHED[architecture])
    if kernel.startswith("attend"):
        return tensor * ATTENTION_OF_256_REACHED[architecture]
    return tensor * share * min(ceiling(loops[kernel]), REACHED_BY_HAND)


def seconds(architecture, loops, call):
    """What a call takes at least: for arithmetic, and for bytes."""
    share = DECODED_SHARE if call.kernel.startswith("attend_narrow") else STREAMED_SHARE
    bandwidth = CARDS[architecture][3] * share * 1e12
    return call.computed / (reached(architecture, loops, call.kernel) * 1e12), call.moved / bandwidth


# What a PCIe 4.0 x16 link carries in practice, in GB/s: logits went over it before tokens were chosen on the device.
LINK = 25.0


def short(number):
    """Three digits or more, in eight columns."""
    return f"{number:8.0f}" if number >= 1000 else f"{number:8.3g}"


def show_calls(architecture, loops):
    """The roofline of each kernel."""
    card, tensor, single, bandwidth, _ = CARDS[architecture]
    print(f"  MedGemma 4B in f16 on {card} ({tensor:.0f} TFLOP/s, {single} in f32, {STREAMED_SHARE:.0%} of {bandwidth} TB/s, {DECODED_SHARE:.0%} in paged decode), at batch {', '.join(map(str, BATCHES))}:")
    print("  of a call GFLOP, MB, µs at least (a for arithmetic, m for memory) and the share of the peak that these are; published")
    by_batch = [calls(architecture, batch, "f16") for batch in BATCHES]
    for phase in by_batch[0]:
        for same in zip(*(each[phase] for each in by_batch)):
            columns = []
            for call in same:
                arithmetic, memory = seconds(architecture, loops, call)
                is_tensor = call.kernel.startswith(("linear", "gated", "attend_wide", "attend_small", "attend_narrow"))
                peak = (tensor if is_tensor else single) * 1e12
                took = max(arithmetic, memory)
                share = call.flops / took / peak if arithmetic > memory else call.moved / took / (bandwidth * 1e12)
                limit = "a" if arithmetic > memory else "m"
                columns.append(f"{short(call.flops / 1e9)} {short(call.moved / 1e6)} {short(took * 1e6)} {limit} {share:4.0%}")
            # The shape of a product may depend on its rows.
            kernels = list(dict.fromkeys(call.kernel.removesuffix("_F16") for call in same))
            print(f"    {phase:6} {same[0].what:21} {same[0].count:3} × {' '.join(kernels):40}{' |'.join(columns)}  {anchor(same[0].kernel)}")


def show_reports(architecture, loops):
    """What kernels add up to."""
    print(f"  all of them, and reports of {OUTPUT} tokens:")
    for stored, batch in itertools.product(WEIGHT_BYTES, BATCHES):
        times, shown = {}, []
        for phase, made in calls(architecture, batch, stored).items():
            each = [(call.count, *seconds(architecture, loops, call)) for call in made]
            times[phase] = sum(count * max(arithmetic, memory) for count, arithmetic, memory in each)
            by_memory = sum(count * memory for count, arithmetic, memory in each if memory >= arithmetic) / times[phase]
            flops, moved = (sum(call.count * getattr(call, what) for call in made) for what in ("flops", "moved"))
            shown.append(f"{phase} {times[phase] * 1e3:.1f} ms ({by_memory:.0%} for memory; {flops / 1e12:.3g} TFLOP, {moved / 1e9:.3g} GB)")
        whole = times["image"] + times["prompt"] + OUTPUT * times["token"]
        print(f"    {stored:4} batch {batch:3}: {batch / whole:5.1f} reports/s; {', '.join(shown)}")
    print(f"  a batch's logits over PCIe would take {', '.join(f'{batch * 4 * VOCABULARY / LINK / 1e3:.0f}' for batch in BATCHES)} µs a token")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    help = f"one of {', '.join(CARDS)}, as sm_80 too; all of them where none is named"
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE", help=help)
    named = [name.removeprefix("sm_") for name in parser.parse_args().architectures]
    for unknown in (name for name in named if name not in CARDS):
        parser.error(f"no architecture {unknown!r}: choose from {', '.join(CARDS)}")
    architectures = named or list(CARDS)
    for architecture in architectures:
        if (first := missing(architecture)) is not None:
            sys.exit(f"roofline.py: {first}")
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
            print(f"  {'':24} published: {anchor(kernel)}")
        print("  bound by bytes: registers, warps of a multiprocessor")
        names = list(GEOMETRY_OF_STREAMS)
        for three in (names[at : at + 3] for at in range(0, len(names), 3)):
            warps = {name: blocks(architecture, name, used[name]) * GEOMETRY_OF_STREAMS[name][0] // 32 for name in three}
            print("  " + "".join(f"{name:22} {used[name]:3} {warps[name]:3}   " for name in three).rstrip())
        show_calls(architecture, loops)
        show_reports(architecture, loops)
    print("\nPublished, for comparison: FlashAttention-2 50 to 73 % of an A100's peak and about 35 % of an H100's; BF16 products by hand")
    print("71 % of an A100's peak, cuBLAS 78 %; paged decode on an H100 15 to 47 % of its bandwidth; GEMV on an A30 about 80 %.")


if __name__ == "__main__":
    main()
