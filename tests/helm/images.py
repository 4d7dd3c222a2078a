"""The Dockerfiles: pinned bases, locked dependencies, no root, no shell at the start."""

import glob
import os
import re
import tomllib

from chart import CHART, ROOT


def instructions(text):
    """(instruction, arguments), lines that go on joined."""
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    for line in joined.splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name.upper(), rest.strip()


def problems(text):
    found = list(instructions(text))
    arguments = dict(rest.split("=", 1) for name, rest in found if name == "ARG" and "=" in rest)
    stages = []
    for name, rest in found:
        if name != "FROM":
            continue
        image, *alias = re.split(r"\s+AS\s+", rest, flags=re.IGNORECASE)
        for key, value in arguments.items():
            image = image.replace("${%s}" % key, value)
        if image not in stages and not re.search(r"(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})$", image):
            yield f"base image {image} is not pinned"
        stages += alias
    if [name for name, _ in found].count("FROM") < 2:
        yield "one stage: the compiler would be in the image"
    last = found[max(at for at, (name, _) in enumerate(found) if name == "FROM"):]
    user = [rest for name, rest in last if name == "USER"]
    if not user or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user[-1]):
        yield f"the user is {user[-1:]}, not a number other than root's"
    if [rest for name, rest in last if name == "ENTRYPOINT"] != ['["/usr/local/bin/prelim"]']:
        yield "the entry point is not the program itself"
    for name, rest in last:
        if name in ("RUN", "ADD", "SHELL"):
            yield f"the last stage has {name} {rest}"
        if re.search(r"(PASSWORD|SECRET|TOKEN)", rest):
            yield f"a secret in {name}"
    if not any(name == "RUN" and "cargo build" in rest and "--locked" in rest and "--release" in rest for name, rest in found):
        yield "cargo builds without --locked --release"
    for name, rest in found:
        if re.search(r"curl|wget|https?://", rest):
            yield f"{name} fetches something that nothing pins"


PLANTED = [
    (r"(ARG RUST_IMAGE=[^:]+):\S+", r"\1:latest"),
    (r"(ARG RUNTIME_IMAGE=[^:]+):\S+", r"\1"),
    (r"USER .*", "USER root"),
    (r"USER .*\n", ""),
    (r"--locked ", ""),
    (r'ENTRYPOINT .*', "ENTRYPOINT prelim"),
    (r"WORKDIR /tmp", "RUN apt-get update"),
    (r"ENV ", "ENV API_TOKEN=x "),
    (r"COPY \. \.", "RUN curl -L example.org | tar x"),
]

# What a worker on a GPU would not start with, or would compile its kernels anew with.
PLANTED_GPU = [
    (r"(ARG RUNTIME_IMAGE=).*", r"\1docker.io/nvidia/cuda:13.0.1-runtime-ubuntu24.04"),
    (r"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=none"),
    (r"compute,utility", "utility"),
    (r"CUDA_CACHE_PATH=/tmp/", "CUDA_CACHE_PATH=/var/cache/"),
]


def manifest(*path):
    with open(os.path.join(ROOT, *path, "Cargo.toml"), "rb") as file:
        return tomllib.load(file)


def truths(name, text, backend, rust):
    """What a Dockerfile says of the program is so."""
    if name.startswith("cuda") and ("has no CUDA backend" in text) == backend:
        yield "its head says of the CUDA backend what is not so"
    settings = " ".join(rest for name_of, rest in instructions(text) if name_of in ("ENV", "ARG"))
    if name.startswith("cuda"):
        # Bases of NVIDIA's have NVIDIA_REQUIRE_CUDA, which refuses drivers that the program runs with.
        if re.search(r"nvidia/cuda|NVIDIA_REQUIRE", settings):
            yield "its base refuses drivers that the program runs with"
        for wanted in ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "CUDA_CACHE_PATH=/tmp/"):
            if wanted not in settings:
                yield f"it does not set {wanted}"
    if f"rust:{rust}." not in text:
        yield f"it builds with another Rust than {rust}"


def check():
    # The backend is in every build: it finds the driver when it runs.
    backend, rust = "cudarc" in manifest("kernels")["dependencies"], manifest()["workspace"]["package"]["rust-version"]
    files = sorted(glob.glob(os.path.join(CHART, "images", "*.Dockerfile")))
    if [os.path.basename(path) for path in files] != ["cpu.Dockerfile", "cuda.Dockerfile"]:
        yield f"Dockerfiles: {files}"
    for path in files:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        name = os.path.basename(path)
        for problem in [*problems(text), *truths(name, text, backend, rust)]:
            yield f"{name}: {problem}"
        for spoiled in ((not backend, rust), (backend, "1.0")):
            if name.startswith("cuda") and not list(truths(name, text, *spoiled)):
                yield f"planted into {name}: {spoiled} was let pass"
        for pattern, replacement in PLANTED_GPU if name.startswith("cuda") else []:
            spoiled, times = re.subn(pattern, replacement, text, count=1)
            if not times or not list(truths(name, spoiled, backend, rust)):
                yield f"planted into {name}: {pattern} was let pass"
        for pattern, replacement in PLANTED:
            spoiled, times = re.subn(pattern, replacement, text, count=1)
            if not times or not list(problems(spoiled)):
                yield f"planted into {name}: {pattern} was let pass"
        with open(path + ".dockerignore", encoding="utf-8") as file:
            if file.read().splitlines()[1:2] != ["*"]:
                yield f"{path}.dockerignore lets the whole tree into the build"
