"""`mpps.py HOST PORT TITLE`: a modality that says what it performs. Reads lines of JSON, does one message each in an association
of its own, and answers with its status, and an Error ID where there is one, in hexadecimal.

A line: `do` (create, set), `uid`, `status`, `studies` and `listed` (UIDs; of the last, `SOP` for images and `OTHER` for what is no
image by turns where `mixed`), `without` (keywords that are left out), `depth` (sequences in sequences), `abort` (in place of the
release).
"""

import json
import sys

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, XRayRadiationDoseSRStorage
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep

HOST, PORT, TITLE = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def scheduled(study):
    item = Dataset()
    item.StudyInstanceUID = study
    item.ReferencedStudySequence = []
    item.AccessionNumber = "A1"
    item.RequestedProcedureID = "R1"
    item.RequestedProcedureDescription = "CT"
    item.ScheduledProcedureStepID = "S1"
    item.ScheduledProcedureStepDescription = "CT"
    item.ScheduledProtocolCodeSequence = []
    return item


def created(line):
    ds = Dataset()
    ds.ScheduledStepAttributesSequence = [scheduled(study) for study in line["studies"]]
    ds.PatientName, ds.PatientID = "Planted^Name", "PLANTED-ID"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.PerformedProcedureStepID = "P1"
    ds.PerformedStationAETitle = TITLE
    ds.PerformedStationName = ds.PerformedLocation = ""
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = "20261128", "101500"
    ds.PerformedProcedureStepStatus = line.get("status", "IN PROGRESS")
    ds.PerformedProcedureStepDescription = ds.PerformedProcedureTypeDescription = ""
    ds.PerformedProcedureStepEndDate = ds.PerformedProcedureStepEndTime = None
    ds.Modality, ds.StudyID = "CT", "1"
    ds.ProcedureCodeSequence, ds.PerformedProtocolCodeSequence, ds.PerformedSeriesSequence = [], [], []
    return ds


def reference(sop_class, uid):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def updated(line):
    ds = Dataset()
    ds.PerformedProcedureStepStatus = line["status"]
    ds.PerformedProcedureStepEndDate, ds.PerformedProcedureStepEndTime = "20261128", "102000"
    series = Dataset()
    series.PerformingPhysicianName = series.OperatorsName = ""
    series.ProtocolName, series.SeriesInstanceUID, series.SeriesDescription = "Head", "1.2.3.4.5", ""
    series.RetrieveAETitle = ""
    images, others = line["listed"], []
    if line.get("mixed"):
        images, others = images[:-1], images[-1:]
    series.ReferencedImageSequence = [reference(CTImageStorage, uid) for uid in images]
    series.ReferencedNonImageCompositeSOPInstanceSequence = [reference(XRayRadiationDoseSRStorage, uid) for uid in others]
    ds.PerformedSeriesSequence = [series]
    return ds


def deepened(ds, depth):
    inner = ds
    for _ in range(depth):
        item = Dataset()
        inner.ReferencedStudySequence = [item]
        inner = item
    return ds


for text in sys.stdin:
    line = json.loads(text)
    ae = AE(ae_title=TITLE)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(ModalityPerformedProcedureStep)
    association = ae.associate(HOST, PORT, ae_title="PRELIM")
    assert association.is_established, "no association"
    ds = created(line) if line["do"] == "create" else updated(line)
    for keyword in line.get("without", []):
        delattr(ds, keyword)
    deepened(ds, line.get("depth", 0))
    send = association.send_n_create if line["do"] == "create" else association.send_n_set
    status, _ = send(ds, ModalityPerformedProcedureStep, line["uid"])
    said = f"{status.Status:04X}" if "Status" in status else "none"
    if "ErrorID" in status:
        said += f" {status.ErrorID:04X}"
    print(said, flush=True)
    if line.get("abort"):
        association.abort()
    else:
        association.release()
