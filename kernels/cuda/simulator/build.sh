#!/usr/bin/env bash
# Builds the stand-in driver with all kernels: build.sh FOLDER [flags for the compiler, such as -DMUTANT_… or -fsanitize=…]
# Leaves FOLDER/libcuda.so. Where flags name a mutant, only the kernels that know it are built anew; the others come from
# FOLDER/../sound. Does nothing where FOLDER has it already, from the same sources and flags.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
shift
mkdir -p "$folder"
# Two builds of one folder at a time would spoil each other.
exec 9>"$folder/lock"
flock 9
stamp="$(cat "$here"/../*.cu "$here"/../*.cuh "$here"/* | sha256sum) $*"
if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
flags=(-std=c++20 -O2 -march=native -ffp-contract=off -fPIC -fno-strict-aliasing -DSIMULATOR -I "$here/.." -Wall -Wno-unknown-pragmas -Wno-unused -x c++)
mutant=
for flag in "$@"; do case $flag in -DMUTANT_*) mutant=${flag#-D} ;; esac; done
objects=()
jobs=()
for source in "$here"/../*.cu "$here"/driver.cpp; do
  object=$(basename "${source%.*}").o
  if [ -n "$mutant" ] && ! grep -qw "$mutant" "$source" "$here"/../primitives.cuh; then
    objects+=("$folder/../sound/$object")
    continue
  fi
  objects+=("$folder/$object")
  g++ "${flags[@]}" "$@" -c -o "$folder/$object" "$source" &
  jobs+=($!)
done
for job in "${jobs[@]}"; do wait "$job"; done
# The name under which a program that asks for the driver finds what is loaded already.
g++ -shared "$@" -Wl,-soname,libcuda.so -o "$folder/libcuda.so" "${objects[@]}"
echo "$stamp" >"$folder/stamp"
