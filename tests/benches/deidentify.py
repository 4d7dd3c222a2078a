"""De-identification by prelim beside dicom-anonymizer on the same files, taking turns, one process each: what a file costs.

usage: python tests/benches/deidentify.py [--prelim FILE] [--files N] [--rounds N] [--json] [DIR]

Draws CT slices of 512 × 512 pixels where no folder is given. Both read every file, apply the basic profile of PS3.15 annex E and
write it; prelim also keeps what its options add (a keyed mapping of UIDs, a look for burned-in words), the peer's own mapping of UIDs
is random and in memory. What prelim's coordinator does for a worker is the same work on an object in memory. Needs, in Python,
dicom-anonymizer, pydicom and numpy.
"""
import argparse
import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time

from ingest import draw

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PEER = """
import os, sys
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file
source, out = sys.argv[1:]
for folder, _, names in os.walk(source):
    for name in names:
        anonymize_dicom_file(os.path.join(folder, name), os.path.join(out, folder.replace("/", "_") + name))
"""


def timed(command):
    """Wall and processor time of a command, in s."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, processor


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", help="DICOM files; slices are drawn where not given")
    arguments.add_argument("--prelim", default=f"{ROOT}/target/release/prelim")
    arguments.add_argument("--files", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as work:
        source = asked.folder or f"{work}/slices"
        if not asked.folder:
            draw(source, asked.files, 1)
        files = [os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names]
        megabytes = sum(os.path.getsize(file) for file in files) / 1e6
        key = f"{work}/key"
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        nothing = f"{work}/nothing"
        os.mkdir(nothing)
        measured = {"prelim": [], "dicom-anonymizer": []}
        for number in range(asked.rounds):
            for name in measured:
                def command(source, out):
                    os.makedirs(out, exist_ok=True)
                    if name == "prelim":
                        return [asked.prelim, "deidentify", source, "-o", out, "--key", key]
                    return [sys.executable, "-c", PEER, source, out]
                # Starting costs Python much and is no part of what is asked.
                empty = [0.0, 0.0] if name == "prelim" else timed(command(nothing, f"{work}/{number}-{name}-nothing"))
                out = f"{work}/{number}-{name}"
                spent = timed(command(source, out))
                written = sum(len(names) for _, _, names in os.walk(out))
                assert written >= len(files), f"{name} wrote {written} of {len(files)} files"
                measured[name].append([max(spent[i] - empty[i], 1e-9) for i in (0, 1)])
        rows = {}
        for name, runs in measured.items():
            wall, processor = (statistics.median(run[i] for run in runs) for i in (0, 1))
            rows[name] = {
                "files_per_s": len(files) / wall,
                "mb_per_s": megabytes / wall,
                "processor_ms_per_file": processor * 1e3 / len(files),
            }
    load = os.getloadavg()[0]
    if asked.json:
        print(json.dumps({"files": len(files), "megabytes": megabytes, "load": load, "medians": rows}, indent=2))
        return
    print(f"{len(files)} files, {megabytes:.0f} MB, {asked.rounds} rounds; load {load:.1f} on {os.cpu_count()} cores")
    print(f"{'':20}{'files/s':>12}{'MB/s':>12}{'CPU ms/file':>14}")
    for name, row in rows.items():
        print(f"{name:20}{row['files_per_s']:12.0f}{row['mb_per_s']:12.0f}{row['processor_ms_per_file']:14.2f}")
    ours, peer = rows["prelim"], rows["dicom-anonymizer"]
    print(f"prelim takes {ours['processor_ms_per_file'] / peer['processor_ms_per_file']:.2f} of the peer's processor time")


if __name__ == "__main__":
    main()
