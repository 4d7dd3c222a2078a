#!/usr/bin/env bash
# Builds the PTX that the binary carries: build.sh [FILE], with nvcc of tests/requirements-cuda.txt on the PATH.
#
# PTX for compute_80 runs on every GPU since Ampere. Its version is lowered from that of the newest compiler to 7.0, the oldest
# that knows all of its instructions, so that the driver of a machine need not be as new as the compiler; the tests assemble it for
# every architecture. Comments go: the text is the same wherever it is built.
set -euo pipefail
cd "$(dirname "$0")"
file=${1:-kernels.ptx.gz}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
jobs=()
for source in *.cu; do
  nvcc -arch=compute_80 -O3 -std=c++17 -Werror all-warnings -I . -ptx -o "$folder/$source.ptx" "$source" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
{
  printf '.version 7.0\n.target sm_80\n.address_size 64\n.extern .shared .align 128 .b8 memory[];\n'
  cat "$folder"/*.ptx | sed -E -e 's,[[:space:]]*//.*$,,' -e '/^\.(version|target|address_size|extern)/d' -e '/^[[:space:]]*$/d'
} | gzip -9 -n >"$file"
