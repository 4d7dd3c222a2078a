"""C-STORE into prelim, Orthanc and DCMTK's storescp on one disk, taking turns: what an object costs until it is acknowledged.

usage: python tests/benches/ingest.py [--prelim FILE] [--slices N] [--senders N,…] [--rounds N] [--folder DIR] [--json]

Draws CT slices of 512 × 512 pixels, new ones for every round, and sends them with DCMTK's storescu: one association a sender,
each object after the answer to the one before. Each server starts on an empty folder of the same disk, and is asked in the end
how many objects it holds. Needs Orthanc (Debian: orthanc), DCMTK (dcmtk) and, in Python, pydicom and numpy.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAUSE_S, PATIENCE_S = 0.05, 30
GUARANTEES = """\
prelim: the file and its record are synced before the answer. Orthanc: the file is synced before the answer (its default), the
index is not synced with each object (SQLite with WAL and synchronous=NORMAL). storescp: nothing is synced, nothing indexed."""


def draw(folder, count, studies):
    """Writes so many slices, in turn to as many folders as there are studies, one a sender."""
    random = numpy.random.default_rng()
    # Noise on a gradient: as hard to compress as a scan.
    ground = numpy.add.outer(numpy.arange(512), numpy.arange(512)).astype(numpy.int16)
    for number in range(studies):
        os.makedirs(f"{folder}/{number}")
    uids = [(generate_uid(), generate_uid()) for _ in range(studies)]
    for index in range(count):
        sender = index % studies
        d = pydicom.Dataset()
        d.file_meta = pydicom.dataset.FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, generate_uid()
        d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID = uids[sender]
        d.PatientID, d.PatientName, d.Modality = f"BENCH{sender}", "Bench^Phantom", "CT"
        d.InstanceNumber, d.ImagePositionPatient = index, [0, 0, index]
        d.ImageOrientationPatient, d.PixelSpacing, d.SliceThickness = [1, 0, 0, 0, 1, 0], [0.7, 0.7], 1
        d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 512, 512
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 1
        d.RescaleSlope, d.RescaleIntercept = 1, -1024
        d.PixelData = (ground + random.integers(0, 64, ground.shape, numpy.int16)).tobytes()
        d.save_as(f"{folder}/{sender}/{index}.dcm", enforce_file_format=True)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A server on an empty folder, which ends with the block."""

    def __init__(self, a, folder):
        self.a, self.folder, self.port, self.http = a, folder, free_port(), free_port()
        os.makedirs(folder)

    def __enter__(self):
        log = open(f"{self.folder}.log", "w")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        until = time.monotonic() + PATIENCE_S
        while subprocess.run(["echoscu", "-aec", "PRELIM", "127.0.0.1", str(self.port)], capture_output=True).returncode:
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{type(self).__name__} did not start: {open(f'{self.folder}.log').read()[-2000:]}")
            time.sleep(PAUSE_S)
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()

    def cpu_seconds(self):
        """Of the process, and of the children that have ended."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        lines = open(f"/proc/{self.process.pid}/status").read().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class Prelim(Server):
    name = "prelim"

    def command(self):
        address = f"127.0.0.1:{self.http}"
        return [self.a.prelim, "coordinator", "--grpc", address, "--data", f"{self.folder}/data", "--dicom", f"127.0.0.1:{self.port}",
                "--aet", "PRELIM"]

    def held(self):
        listed = subprocess.run(
            [self.a.prelim, "studies", "--grpc", f"127.0.0.1:{self.http}", "--json"], capture_output=True, text=True, check=True)
        return sum(study["instances"] for study in json.loads(listed.stdout))


class Orthanc(Server):
    name = "Orthanc"

    def command(self):
        settings = {
            "Name": "BENCH", "StorageDirectory": self.folder, "IndexDirectory": self.folder, "HttpPort": self.http,
            "DicomPort": self.port, "DicomAet": "PRELIM", "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "SyncStorageArea": True, "Plugins": []}
        with open(f"{self.folder}.json", "w") as file:
            json.dump(settings, file)
        return ["Orthanc", f"{self.folder}.json"]

    def held(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/statistics") as answer:
            return json.load(answer)["CountInstances"]


class Storescp(Server):
    name = "storescp"

    def command(self):
        return ["storescp", "--fork", "--bit-preserving", "--aetitle", "PRELIM", "--output-directory", self.folder, str(self.port)]

    def held(self):
        return len(glob.glob(f"{self.folder}/CT.*"))


def measure(kind, a, folder, slices, senders):
    with kind(a, f"{folder}/{kind.__name__}") as server:
        size = sum(os.path.getsize(file) for file in glob.glob(f"{slices}/*/*.dcm"))
        count = len(glob.glob(f"{slices}/*/*.dcm"))
        cpu, began = server.cpu_seconds(), time.monotonic()
        sending = [
            subprocess.Popen(["storescu", "-aec", "PRELIM", "+sd", "127.0.0.1", str(server.port), f"{slices}/{number}"],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for number in range(senders)]
        for sender in sending:
            said, _ = sender.communicate()
            if sender.returncode:
                raise SystemExit(f"{server.name}: storescu: {said.decode()[-2000:]}")
        seconds = time.monotonic() - began
        held = server.held()
        if held != count:
            raise SystemExit(f"{server.name} holds {held} of {count} objects")
        run = {
            "objects_per_s": count / seconds, "mb_per_s": size / seconds / 1e6,
            "cpu_us_per_object": (server.cpu_seconds() - cpu) / count * 1e6, "peak_mib": server.peak_mib()}
    shutil.rmtree(server.folder)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prelim", default=os.path.join(ROOT, "target/release/prelim"))
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--senders", default="1,4,16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the servers write; the system's folder for temporary files if not given")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    results = []
    for senders in (int(number) for number in a.senders.split(",")):
        runs = {kind: [] for kind in (Prelim, Orthanc, Storescp)}
        for number in range(a.rounds):
            print(f"{senders} senders, round {number + 1} of {a.rounds} …", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=a.folder) as folder:
                draw(f"{folder}/slices", a.slices, senders)
                for kind in runs:
                    runs[kind].append(measure(kind, a, folder, f"{folder}/slices", senders))
        results += [{"senders": senders, "server": kind.name, "runs": some} for kind, some in runs.items()]
    if a.json:
        return print(json.dumps(results, indent=1))
    print(f"{a.slices} slices of 512 × 512, medians of {a.rounds} rounds (range)\n")
    print("| senders | server | objects/s | MB/s | µs of processor time an object | peak MiB |")
    print("|---|---|---|---|---|---|")
    for row in results:
        columns = {key: [run[key] for run in row["runs"]] for key in row["runs"][0]}
        cells = [f"{statistics.median(some):,.0f} ({min(some):,.0f} to {max(some):,.0f})" for some in columns.values()]
        print(f"| {row['senders']} | {row['server']} | {' | '.join(cells)} |")
    print(f"\n{GUARANTEES}")


if __name__ == "__main__":
    main()
