#!/usr/bin/env python3
"""Makes the inputs of the codec tests and states what they decode to.

    codec_goldens.py inputs    writes the small codestreams of codec/ with encoders that are not ours
    codec_goldens.py           writes codec_goldens.tsv with decoders that are not ours

Needs numpy, pydicom, pyjpegls (CharLS), pillow and imagecodecs (libjpeg-turbo), and DCMTK
(dcmdjpls, dcmdjpeg, dcmdrle, dcmcjpls). DICOM files come from tests/data/dicom and from the collection beside
the repository, where that is there. A digest is SHA-256 over the samples as little-endian 16-bit numbers, those of a pixel
side by side, without a colour transform.
"""

import hashlib
import io
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_frames

HERE = Path(__file__).resolve().parent
# The samples of the repository, and the larger collection beside it that they are taken from.
SAMPLES = [HERE.parents[2] / "tests" / "data" / "dicom", HERE.parents[3] / "shared" / "data" / "dicom"]
DCMTK = {"jpegls": ["dcmdjpls"], "jpeg": ["dcmdjpeg", "+cn"], "rle": ["dcmdrle"]}
CODECS = {"80": "jpegls", "81": "jpegls", "50": "jpeg", "51": "jpeg", "53": "jpeg", "55": "jpeg"}


def picture(height, width, components, bits, seed):
    """Slopes, a disc, a flat part and some noise: every mode of a coder gets work."""
    largest = (1 << bits) - 1
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for component in range(components):
        plane = (x * (component + 2) + y * 3) * largest // (width * 4 + height * 3)
        disc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 3) ** 2
        plane = np.where(disc, largest // (2 + component), plane)
        plane = plane + rng.integers(-2, 3, plane.shape) * (rng.random(plane.shape) < 0.2)
        plane[: height // 4] = largest // 3
        planes.append(plane)
    return np.clip(np.stack(planes, -1), 0, largest).astype(np.uint16)


def charls(pixels, bits, near=0, interleave=0):
    height, width, components = pixels.shape
    source = pixels.astype("u1" if bits <= 8 else "<u2")
    if components > 1 and interleave == 0:
        source = np.ascontiguousarray(np.moveaxis(source, -1, 0))
    return bytes(jpeg_ls.encode_buffer(source.tobytes(), height, width, components, bits, near, interleave))


def restarted(pixels, bits, lines):
    """Joins strips that CharLS coded apart: after a restart marker a coder begins anew."""
    height, width, _ = pixels.shape
    strips = [charls(pixels[y : y + lines], bits) for y in range(0, height, lines)]
    starts = [strip.index(b"\xff\xda") for strip in strips]
    head = bytearray(strips[0][: starts[0]])
    frame = head.index(b"\xff\xf7")
    head[frame + 5 : frame + 7] = struct.pack(">H", height)
    coded = [strip[start + 10 :].split(b"\xff\xd9")[0] for strip, start in zip(strips, starts)]
    body = bytearray(coded[0])
    for index, strip in enumerate(coded[1:]):
        body += bytes([0xFF, 0xD0 + index % 8]) + strip
    restart = struct.pack(">BBHH", 0xFF, 0xDD, 4, lines)
    return bytes(head) + restart + strips[0][starts[0] : starts[0] + 10] + bytes(body) + b"\xff\xd9"


def preset(pixels):
    """Has DCMTK set thresholds and the reset interval, which puts an LSE segment in front."""
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = Path(folder, "plain.dcm"), Path(folder, "coded.dcm")
        ds = pydicom.Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "2.25.1"
        ds.Rows, ds.Columns, ds.SamplesPerPixel = *pixels.shape[:2], 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PhotometricInterpretation, ds.PixelData = "MONOCHROME2", pixels.astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        ds.save_as(plain, enforce_file_format=True)
        command = ["dcmcjpls", "+pr", "+t1", "9", "+t2", "30", "+t3", "90", "+rs", "31", plain, coded]
        subprocess.run(command, check=True)
        return next(generate_frames(pydicom.dcmread(coded).PixelData, number_of_frames=1))


def pillow(pixels, **options):
    grey = pixels.shape[2] == 1
    image = Image.fromarray((pixels[..., 0] if grey else pixels).astype("u1"), "L" if grey else "YCbCr")
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def twelve(pixels, **options):
    if pixels.shape[2] == 3:
        options |= {"colorspace": "YCBCR", "outcolorspace": "YCBCR"}
    grey = pixels.shape[2] == 1
    return imagecodecs.jpeg8_encode(pixels[..., 0].copy() if grey else pixels, bitspersample=12, **options)


def inputs():
    folder = HERE / "codec"
    folder.mkdir(exist_ok=True)
    files = {}
    for bits in range(2, 17):
        near = bits % 4 if bits > 3 else 0
        files[f"grey_{bits}bit_near{near}.jls"] = charls(picture(19 + bits, 31 - bits, 1, bits, bits), bits, near)
    for interleave, name in enumerate(["planes", "lines", "samples"]):
        for bits, near in ((8, 0), (12, 2)):
            pixels = picture(17, 23, 3, bits, interleave)
            files[f"colour_{name}_{bits}bit_near{near}.jls"] = charls(pixels, bits, near, interleave)
    files["one_column.jls"] = charls(picture(90, 1, 1, 8, 1), 8)
    files["long_runs.jls"] = charls(picture(8, 900, 1, 10, 2) // 512 * 512, 10)
    files["restarts.jls"] = restarted(picture(37, 21, 1, 12, 3), 12, 4)
    files["preset.jls"] = preset(picture(33, 29, 1, 12, 4))

    files["baseline_1x1.jpg"] = pillow(picture(1, 1, 1, 8, 5), quality=90)
    files["baseline_restarts.jpg"] = pillow(picture(37, 45, 1, 8, 6), quality=80, restart_marker_blocks=3)
    for subsampling, name in enumerate(["444", "422", "420"]):
        for progressive in (False, True):
            process = "progressive" if progressive else "baseline"
            pixels = picture(29, 43, 3, 8, subsampling)
            files[f"{process}_{name}.jpg"] = pillow(
                pixels, quality=75, subsampling=subsampling, progressive=progressive, restart_marker_blocks=2
            )
    files["progressive_grey.jpg"] = pillow(picture(35, 50, 1, 8, 7), quality=95, progressive=True)
    files["extended_12bit.jpg"] = twelve(picture(21, 34, 1, 12, 8), level=90)
    files["extended_12bit_420.jpg"] = twelve(picture(27, 35, 3, 12, 9), level=85, subsampling="420")
    files["extended_12bit_422_coarse.jpg"] = twelve(picture(9, 50, 3, 12, 10), level=20, subsampling="422")
    for name, data in files.items():
        (folder / name).write_bytes(data)


def samples_of_codestream(path):
    """CharLS for JPEG-LS, libjpeg-turbo for JPEG: `[height, width, components]` and the bits."""
    data = path.read_bytes()
    if path.suffix == ".jls":
        pixels = imagecodecs.jpegls_decode(data)
        bits = data[data.index(b"\xff\xf7") + 4]
    else:
        start = next(data.index(bytes([0xFF, sof])) for sof in (0xC0, 0xC1, 0xC2) if bytes([0xFF, sof]) in data)
        bits, components = data[start + 4], data[start + 9]
        space = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"} if components == 3 else {}
        pixels = imagecodecs.jpeg8_decode(data, **space)
    if pixels.ndim == 3 and pixels.shape[0] == 3 and pixels.shape[2] != 3:
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels.reshape(*pixels.shape[:2], -1), bits


def samples_of_dicom(path, codec):
    """DCMTK's decoder: the samples of the first frame."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "plain.dcm")
        subprocess.run([*DCMTK[codec], path, plain], check=True, capture_output=True)
        ds = pydicom.dcmread(plain)
        shape = (ds.Rows, ds.Columns, ds.SamplesPerPixel)
        samples = np.frombuffer(ds.PixelData, "<u2" if ds.BitsAllocated == 16 else "u1")[: np.prod(shape)]
        if ds.SamplesPerPixel > 1 and ds.PlanarConfiguration == 1:
            return np.moveaxis(samples.reshape(shape[2], *shape[:2]), 0, -1)
        return samples.reshape(shape)


def dicom_files(root):
    for path in sorted(root.rglob("*.dcm")):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            syntax = str(ds.file_meta.TransferSyntaxUID)
        except Exception:
            continue
        codec = "rle" if syntax == "1.2.840.10008.1.2.5" else CODECS.get(syntax.removeprefix("1.2.840.10008.1.2.4."))
        # `malformed` is for tests of refusal.
        if codec and "malformed" not in path.parts:
            yield path, codec, ds


def row(name, codec, pixels, bits):
    digest = hashlib.sha256(pixels.astype("<u2").tobytes()).hexdigest()
    height, width, components = pixels.shape
    return [name, codec, width, height, components, bits, digest]


def goldens():
    rows = []
    for path in sorted((HERE / "codec").iterdir()):
        codec = "jpegls" if path.suffix == ".jls" else "jpeg"
        rows.append(row(f"codec/{path.name}", codec, *samples_of_codestream(path)))
    found = {}
    for root in SAMPLES:
        for path, codec, ds in dicom_files(root):
            name = f"dicom/{path.relative_to(root)}"
            if name not in found:
                found[name] = row(name, codec, samples_of_dicom(path, codec), coded_bits(path, ds))
    rows += [found[name] for name in sorted(found)]
    header = ["file", "codec", "width", "height", "components", "bits", "sha256"]
    lines = ["\t".join(map(str, fields)) for fields in [header, *rows]]
    (HERE / "codec_goldens.tsv").write_text("\n".join(lines) + "\n")


def coded_bits(path, ds):
    """The precision of the codestream, which may be above Bits Stored; Bits Allocated for RLE."""
    data = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
    at = 2
    while data[:2] == b"\xff\xd8":
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker in (0xC0, 0xC1, 0xC2, 0xF7):
            return data[at + 4]
        at += 2 + length
    return ds.BitsAllocated


if __name__ == "__main__":
    inputs() if sys.argv[1:] == ["inputs"] else goldens()
