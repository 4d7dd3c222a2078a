"""The reading room page in Chromium on a CT of many slices: frame times of scrolling, on the processor's path and on WebGL's.

usage: python tests/benches/page.py [--prelim FILE] [--slices N] [--rounds N] [--json]

Draws a CT of 512 × 512 pixels with a bright ball in noise, starts `prelim up` on loopback in an empty folder, sends the CT, and
lets Chromium open it as a radiologist: how long until the first image, until all slices are there, and from a key to the frame that
shows what came of it. The GPU is SwiftShader where the machine has none. Needs Chromium and node, in Python pydicom and numpy, and
tests/install.sh for what drives the browser.
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
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

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


def visit(ready, study, slices, gl):
    """One visit of the browser."""
    settings = {"url": ready["http"].removesuffix("/dicom-web"), "name": ready["account"]["name"],
                "password": ready["account"]["password"], "study": study, "slices": slices, "gl": gl}
    script = os.path.join(ROOT, "tests/benches/page.mjs")
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/ct")
        study = draw(f"{folder}/ct", options.slices)
        # The slices are looked at, and not read by the model.
        with open(f"{folder}/rules.toml", "w") as rules:
            rules.write('[default]\nskip = "for the benchmark of the page"\n')
        line = [options.prelim, "up", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", "data", "--rules", "rules.toml"]
        server = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            ready = json.loads(server.stdout.readline())
            send = [options.prelim, "submit", "--grpc", ready["grpc"], "--wait", f"{folder}/ct"]
            subprocess.run(send, check=True, stdout=subprocess.DEVNULL)
            found = {}
            for name, gl in (("processor", False), ("webgl", True)):
                found[name] = middle([visit(ready, study, options.slices, gl) for _ in range(options.rounds)])
        finally:
            server.terminate()
            server.wait()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{options.slices} slices of 512 × 512, medians of {options.rounds} rounds, ms")
    for name, told in found.items():
        print(f"{name}: first image {told['first_image_ms']}, all slices {told['all_slices_ms']}")
        for what in ("scroll", "window"):
            times = told[f"{what}_ms"]
            print(f"  {what}: p50 {times['p50']}, p95 {times['p95']}, p99 {times['p99']}, most {times['most']}")


if __name__ == "__main__":
    main()
