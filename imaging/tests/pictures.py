#!/usr/bin/env python3
"""Writes pictures.tsv: what the grey samples look like, worked out from the standard with pydicom and numpy.

    python3 imaging/tests/pictures.py FOLDER... > imaging/tests/pictures.tsv

One line a sample: file, SHA-256 of its first frame as X-ray (modality transform, VOI LUT or first window, else the
range without padding; MONOCHROME1 inverted; 8 bits), and of its modality values cut to three CT windows.
"""

import hashlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, get_decoder

warnings.simplefilter("ignore")
WINDOWS = [(-1024, 1024), (-135, 215), (-1000, -300)]


def groups(dataset, name):
    """The dataset, or the functional group of the first frame where there is one."""
    for parent in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        if parent in dataset and name in dataset[parent][0]:
            return dataset[parent][0][name][0]
    return dataset


def modality(dataset, stored):
    source = groups(dataset, "PixelValueTransformationSequence")
    if "ModalityLUTSequence" in source:
        return apply_modality_lut(stored, source).astype(np.float64)
    slope = float(source.get("RescaleSlope") or 1)
    return stored * slope + float(source.get("RescaleIntercept") or 0)


def lut(item, values):
    count, first, bits = item.LUTDescriptor
    data = item.LUTData
    data = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
    return data[np.clip(values.astype(int) - first, 0, len(data) - 1)] / (2.0**bits - 1)


def shade(dataset, values, is_image):
    source = groups(dataset, "FrameVOILUTSequence")
    if source.get("VOILUTSequence"):
        return lut(source.VOILUTSequence[0], values)
    first = lambda value: float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)
    if source.get("WindowWidth") and source.get("WindowCenter") is not None:
        center, width = first(source.WindowCenter), first(source.WindowWidth)
        if source.get("VOILUTFunction", "LINEAR") == "LINEAR" and width >= 1:
            center, width = center - 0.5, width - 1
            inside = (values - center) / max(width, 1e-300) + 0.5
            return np.where(values <= center - width / 2, 0, np.where(values > center + width / 2, 1, inside))
        if source.get("VOILUTFunction") == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - center) / width))
        if source.get("VOILUTFunction") == "LINEAR_EXACT":
            return np.clip((values - center) / width + 0.5, 0, 1)
    low, high = values[is_image].min(), values[is_image].max()
    return (values - low) * (1 / (high - low) if high > low else 0)


def main():
    print("# Written by pictures.py; see there.")
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.rglob("*.dcm")):
            try:
                dataset = pydicom.dcmread(path, force=True)
                decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
                stored, meta = decoder.as_array(dataset, index=0)
                if "PixelData" not in dataset or not meta["photometric_interpretation"].startswith("MONOCHROME"):
                    continue
            except Exception:
                continue
            is_image = np.ones(stored.shape, bool)
            if dataset.get("PixelPaddingValue") is not None:
                ends = [dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue)]
                is_image = (stored < min(ends)) | (stored > max(ends))
            values = modality(dataset, stored)
            picture = np.clip(shade(dataset, values, is_image), 0, 1)
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                picture = 1 - picture
            # Halves are rounded up, and not to even.
            picture = np.where(is_image, np.floor(picture * 255 + 0.5), 0).astype(np.uint8)
            cut = [np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8) for low, high in WINDOWS]
            cut = np.where(is_image[..., None], np.stack(cut, -1), 0).astype(np.uint8)
            digests = [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in (picture, cut)]
            print(path.relative_to(folder).as_posix(), *digests, sep="\t")


main()
