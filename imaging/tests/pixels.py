#!/usr/bin/env python3
"""Writes pixels.tsv: what other decoders read from every frame of the sample images.

    python3 imaging/tests/pixels.py FOLDER... > imaging/tests/pixels.tsv

Needs pydicom with pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg; for lossy JPEG, and where pydicom gives up, DCMTK's dcmdjpeg.
One line a frame: file, frame (from 1), transfer syntax, kind (grey: stored values; rgb: 8 bits a sample), rows,
columns, smallest, largest and sum of the values, SHA-256 of them as little-endian int32, which decoder. Nothing is
written for objects without pixels, and `-` for pixels that neither decoder reads.
"""

import hashlib
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder

warnings.simplefilter("ignore")
LOSSY_JPEG = [f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55)]


def to_rgb(dataset, frame, interpretation):
    if interpretation == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
        bits = dataset.RedPaletteColorLookupTableDescriptor[2]
        return frame >> (bits - 8) if bits > 8 else frame
    if interpretation.startswith("YBR_FULL"):
        frame = convert_color_space(frame, interpretation, "RGB")
    return frame >> 8 if dataset.BitsStored > 8 else frame


def frames(path):
    """Yields (frame, values) as pydicom reads them."""
    dataset = pydicom.dcmread(path, force=True)
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    for index in range(count):
        if dataset.get("BitsAllocated") == 1:
            # Frames may start inside a byte, so all are unpacked at once.
            values = dataset.pixel_array
            values = values[index] if count > 1 else values
            yield dataset, index, values, "MONOCHROME2"
            continue
        decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
        values, meta = decoder.as_array(dataset, index=index)
        yield dataset, index, values, meta["photometric_interpretation"]


def deflated(path):
    """Deflated Image Frame Compression of one-bit pixels, which pydicom does not read."""
    dataset = pydicom.dcmread(path)
    shape = (dataset.Rows, dataset.Columns)
    parts = generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames))
    for index, part in enumerate(parts):
        bits = np.unpackbits(np.frombuffer(zlib.decompress(part, -15), np.uint8), bitorder="little")
        yield dataset, index, bits[: shape[0] * shape[1]].reshape(shape), "MONOCHROME2"


def dcmtk(path):
    """The object as DCMTK decompresses it."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as out:
        subprocess.run(["dcmdjpeg", str(path), out.name], check=True, capture_output=True)
        yield from frames(out.name)


def line(name, syntax, dataset, index, values, interpretation, decoder):
    grey = values.ndim == 2 and interpretation != "PALETTE COLOR"
    if not grey:
        values = to_rgb(dataset, values, interpretation)
    values = np.ascontiguousarray(values)
    digest = hashlib.sha256(values.astype("<i4").tobytes()).hexdigest()
    rows, columns = values.shape[:2]
    total = int(values.astype(np.int64).sum())
    cells = [name, index + 1, syntax, "grey" if grey else "rgb", rows, columns]
    return cells + [int(values.min()), int(values.max()), total, digest, decoder]


def main():
    print("# Written by pixels.py; see there.")
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.rglob("*.dcm")):
            name = path.relative_to(folder).as_posix()
            try:
                dataset = pydicom.dcmread(path, force=True, stop_before_pixels=False)
                if "PixelData" not in dataset:
                    continue
                syntax = str(dataset.file_meta.TransferSyntaxUID)
            except Exception:
                continue
            rows, error = [], ""
            decoders = [("pydicom", frames), ("dcmtk", dcmtk), ("zlib", deflated)]
            if syntax in LOSSY_JPEG:
                # DCMTK's libjpeg is the one that most viewers and archives have.
                decoders[:2] = decoders[1::-1]
            for decoder, read in decoders:
                try:
                    rows = [line(name, syntax, *frame, decoder) for frame in read(path)]
                    break
                except Exception as failure:  # Any failure means: not this decoder.
                    error += f"{decoder}: {failure} "
            if not rows:
                print(name, 1, syntax, "-", error.replace("\n", " ")[:150], file=sys.stderr, sep="\t")
                rows = [[name, 1, syntax, "-"]]
            for row in rows:
                print(*row, sep="\t")


main()
