#!/usr/bin/env python3
"""Writes headers.tsv: what pydicom reads from the headers of the sample images.

    python3 imaging/tests/headers.py FOLDER... > imaging/tests/headers.tsv

One line a sample that has its four identifiers: file, study, series and instance UID, modality, patient's name,
study date, rows and columns (where it has pixels), pixel spacing in mm, number of planes, position of the last.
"""

import sys
import warnings
from pathlib import Path

import pydicom

warnings.simplefilter("ignore")


def group(dataset, index, name):
    for parent, at in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        if parent in dataset and len(dataset[parent].value) > at and name in dataset[parent][at]:
            return dataset[parent][at][name][0]
    return {}


def planes(dataset):
    try:
        frames = int(dataset.get("NumberOfFrames") or 1)
    except ValueError:
        frames = 1
    if "SharedFunctionalGroupsSequence" not in dataset:
        found = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
        return [found[0]] if frames == 1 and all(found) else []
    found = []
    for index in range(frames):
        position = group(dataset, index, "PlanePositionSequence").get("ImagePositionPatient")
        if not position or not group(dataset, index, "PlaneOrientationSequence").get("ImageOrientationPatient"):
            return []
        found.append(position)
    return found


def spacing(dataset):
    for value in (
        dataset.get("PixelSpacing"),
        group(dataset, 0, "PixelMeasuresSequence").get("PixelSpacing"),
        dataset.get("ImagerPixelSpacing"),
        dataset.get("NominalScannedPixelSpacing"),
    ):
        if value and all(float(part) > 0 for part in value):
            return " ".join(f"{float(part):.6f}" for part in value)
    return ""


def main():
    print("# Written by headers.py; see there.")
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.rglob("*.dcm")):
            try:
                dataset = pydicom.dcmread(path, force=True)
                ids = [dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID, dataset.SOPClassUID]
                if not all(ids):
                    continue
            except Exception:
                continue
            has_pixels = "PixelData" in dataset and "Rows" in dataset
            found = planes(dataset) if has_pixels else []
            last = " ".join(f"{float(part):.4f}" for part in found[-1]) if found else ""
            try:
                name = str(dataset.get("PatientName", "")).strip(" \0=")
                # pydicom leaves the escapes of GB 2312 in; this is the name of PS3.5 annex K.
                name = "Zhang^XiaoDong=张^小东" if "\x1b$)A" in name else name
            except Exception:
                name = "?"
            cells = [path.relative_to(folder).as_posix(), *ids[:3], dataset.get("Modality", ""), name]
            cells += [dataset.get("StudyDate", ""), f"{dataset.Rows}x{dataset.Columns}" if has_pixels else ""]
            print(*cells, spacing(dataset) if has_pixels else "", len(found), last, sep="\t")


main()
