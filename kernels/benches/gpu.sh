#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the tests of agreement on it, and then how fast its kernels are: gpu.sh [ORDINAL]
# What both say is kept in target/gpu/, in a file that is named after the GPU. No GPU has run this yet.
set -euo pipefail
cd "$(dirname "$0")/../.."
ordinal=${1:-0}
if ! command -v nvidia-smi >/dev/null; then
  echo "gpu.sh: no nvidia-smi on the PATH: this is for a machine with an NVIDIA GPU and its driver; without one run" \
    "cargo test --release --workspace --test cuda, which simulates it" >&2
  exit 1
fi
# The driver counts GPUs as nvidia-smi does, and not the fastest first: what is measured is what the file is named after.
export CUDA_DEVICE_ORDER=PCI_BUS_ID
name=$(nvidia-smi --query-gpu=name --format=csv,noheader -i "$ordinal" | tr -c 'A-Za-z0-9\n' '-')
mkdir -p target/gpu
export PRELIM_SIMULATOR=none CUDA_VISIBLE_DEVICES=$ordinal
{
  date -u +"%Y-%m-%d, commit $(git rev-parse --short HEAD)"
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv -i "$ordinal"
  cargo test --release --workspace --test cuda -- operations:: prefixes:: sizes:: streams:: choices_agree draws_agree scores_that a_product_of_a_norm
  cargo test --release --workspace --test cuda_parity
  cargo bench -p prelim-kernels --bench cuda -- 0
} 2>&1 | tee "target/gpu/$name.txt"
