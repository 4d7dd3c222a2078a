"""The reading room page in Chromium: a CT of many slices, on the processor's path and on WebGL's, and a worklist of many studies.

usage: python tests/benches/page.py [--prelim FILE] [--slices N] [--studies N] [--rounds N] [--json]

Draws a CT of 512 × 512 pixels with a bright ball in noise, starts `prelim up` on loopback in an empty folder, sends the CT, and
lets Chromium open it as a radiologist: how long until the first image, until all slices are there, and from a key to the frame that
shows what came of it. Then it sends films of as many patients, and opens the worklist: how long until the first rows, until all
that it loads, from the last key of a search to what it finds, and frame times of scrolling. --slices 0 or --studies 0 leaves one
out. The GPU is SwiftShader where the machine has none. Needs Chromium and node, in Python pydicom and numpy, and tests/install.sh
for what drives the browser.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy
import pydicom
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def draw(folder, slices):
    """Writes the slices, and says which study they are."""
    random = numpy.random.default_rng(1)
    y, x = numpy.mgrid[0:512, 0:512]
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(slices):
        ball = (x - 256) ** 2 + (y - 256) ** 2 + (index - slices / 2) ** 2 < 90**2
        values = (numpy.where(ball, 1064, 224) + random.integers(0, 64, ball.shape)).astype(numpy.int16)
        d = pydicom.Dataset()
        d.file_meta = pydicom.dataset.FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, generate_uid()
        d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, series, frame
        d.PatientID, d.PatientName, d.Modality, d.ImageType = "BENCH", "Bench^Phantom", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        d.SeriesNumber, d.InstanceNumber, d.ImagePositionPatient = 1, index + 1, [-179, -179, index]
        d.ImageOrientationPatient, d.PixelSpacing, d.SliceThickness = [1, 0, 0, 0, 1, 0], [0.7, 0.7], 1
        d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 512, 512
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 1
        d.RescaleSlope, d.RescaleIntercept, d.BodyPartExamined = 1, -1024, "CHEST"
        d.PixelData = values.tobytes()
        d.save_as(f"{folder}/{index:04}.dcm", enforce_file_format=True)
    return study


def draw_films(folder, studies):
    """Writes a small film of each of so many patients."""
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    d.Modality, d.BodyPartExamined, d.ViewPosition, d.StudyDescription = "DX", "CHEST", "PA", "Chest PA"
    d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 16, 16
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 8, 8, 7, 0
    d.PixelData = bytes(range(256))
    for index in range(studies):
        d.StudyInstanceUID, d.SeriesInstanceUID, d.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
        d.PatientID, d.PatientName = f"LIST-{index:05}", f"Patient{index:05}^Given"
        d.PatientBirthDate, d.PatientSex = f"{1930 + index % 80}0115", "FM"[index % 2]
        d.StudyDate, d.InstitutionName = f"2026{1 + index % 12:02}{1 + index % 28:02}", f"Site {index % 7}"
        d.save_as(f"{folder}/{index:05}.dcm", enforce_file_format=True)


def visit(ready, script, **more):
    """One visit of the browser."""
    settings = {"url": ready["http"].removesuffix("/dicom-web"), "name": ready["account"]["name"],
                "password": ready["account"]["password"], **more}
    script = os.path.join(ROOT, "tests/benches", script)
    done = subprocess.run(["node", script, json.dumps(settings)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def middle(visits):
    """The medians of what visits found, name by name."""
    first = visits[0]
    if isinstance(first, dict):
        return {name: middle([visit[name] for visit in visits]) for name in first}
    return round(statistics.median(visits), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prelim", default=os.path.join(ROOT, "target/release/prelim"))
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # What is sent is looked at, and not read by the model.
        with open(f"{folder}/rules.toml", "w") as rules:
            rules.write('[default]\nskip = "for the benchmark of the page"\n')
        line = [options.prelim, "up", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data", "--rules", "rules.toml"]
        server = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            ready = json.loads(server.stdout.readline())

            def rounds(script, **more):
                return middle([visit(ready, script, **more) for _ in range(options.rounds)])

            def send(name, drawing, count):
                os.mkdir(f"{folder}/{name}")
                study = drawing(f"{folder}/{name}", count)
                command = [options.prelim, "submit", "--grpc", ready["grpc"], "--wait", f"{folder}/{name}"]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                return study

            found = {}
            if options.slices > 0:
                study = send("ct", draw, options.slices)
                for name, gl in (("processor", False), ("webgl", True)):
                    found[name] = rounds("page.mjs", study=study, slices=options.slices, gl=gl)
            if options.studies > 0:
                send("films", draw_films, options.studies)
                # A search for a hundred of them, or for all where there are fewer.
                text, matches = ("LIST-000", min(100, options.studies))
                found["worklist"] = rounds("page_list.mjs", text=text, matches=matches)
        finally:
            server.terminate()
            server.wait()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"medians of {options.rounds} rounds, ms")
    for name, told in found.items():
        if name == "worklist":
            print(f"worklist of {options.studies} studies: first rows {told['first_rows_ms']}, {round(told['rows'])} loaded "
                  f"{told['all_rows_ms']}, search {told['search_ms']}")
        else:
            print(f"{options.slices} slices of 512 × 512, {name}: first image {told['first_image_ms']}, all slices {told['all_slices_ms']}")
        for what in ("scroll_ms", "window_ms", "scroll_frame_ms", "key_frame_ms"):
            if what in told:
                times = told[what]
                print(f"  {what.removesuffix('_ms').replace('_', ' ')}: p50 {times['p50']}, p95 {times['p95']}, p99 {times['p99']}, most {times['most']}")


if __name__ == "__main__":
    main()
