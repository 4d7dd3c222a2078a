"""`pacs.py PORT FOLDER BEHAVIOUR`: a PACS that is not ours, for what Orthanc and DCMTK's do not do. Prints a line when it listens.

What it was sent is noted in FOLDER/received.jsonl, an object a line, when it has been answered for. BEHAVIOUR is a JSON object:
`refuse`: no storage context is accepted; `status`: what a C-STORE is answered with; `times`: only so often, then with success;
`abort`: a C-STORE is aborted so often; `silent`: no C-STORE is answered; `slow_s`: how long each takes; `holds`: a folder of
objects that C-FIND and C-GET (with `get`) or C-MOVE (with `move`: HOST:PORT of TITLE) give out; `commit`: storage commitment is
offered, and reported on the `same` association, on one `back` to the port `to`, with `failed` once and then held, `never`, or its
request is `refused`.
"""

import json
import sys
import threading
import time
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, build_context, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel as Commitment,
    StorageCommitmentPushModelInstance as WellKnown,
    StudyRootQueryRetrieveInformationModelFind as Find,
    StudyRootQueryRetrieveInformationModelGet as Get,
    StudyRootQueryRetrieveInformationModelMove as Move,
    Verification,
)

PORT, FOLDER, HOW = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
left = {"abort": HOW.get("abort", 0), "times": HOW.get("times", 1 << 30)}
held = [dcmread(path) for path in sorted(Path(HOW["holds"]).rglob("*.dcm"))] if "holds" in HOW else []


def note(**what):
    with (FOLDER / "received.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\n")


def store(event):
    request = event.request
    if left["abort"] > 0:
        left["abort"] -= 1
        note(instance=str(request.AffectedSOPInstanceUID), answer="abort")
        event.assoc.abort()
        return 0xC000
    if HOW.get("silent"):
        note(instance=str(request.AffectedSOPInstanceUID), answer="silence")
        time.sleep(3600)
    time.sleep(HOW.get("slow_s", 0))
    status = HOW.get("status", 0)
    if left["times"] <= 0:
        status = 0
    left["times"] -= 1
    title = str(event.dataset.get("SeriesDescription", ""))
    note(instance=str(request.AffectedSOPInstanceUID), answer=f"{status:04X}", study=str(event.dataset.StudyInstanceUID), title=title)
    answer = Dataset()
    answer.Status = status
    if status:
        answer.ErrorComment = "not today"
    return answer


def fits(ds, question):
    keys = ("StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber", "PatientID", "StudyDate")
    wanted = {key: str(question.get(key) or "") for key in keys}
    return all(not value or str(ds.get(key, "")) == value for key, value in wanted.items())


def find(event):
    question, seen = event.identifier, set()
    level = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}[question.QueryRetrieveLevel]
    for ds in held:
        if fits(ds, question) and ds[level].value not in seen:
            seen.add(ds[level].value)
            answer = Dataset()
            for element in question:
                if element.keyword in ds:
                    answer[element.keyword] = ds[element.keyword]
            answer.QueryRetrieveLevel = question.QueryRetrieveLevel
            yield 0xFF00, answer
    yield 0x0000, None


def give(event):
    wanted = [ds for ds in held if fits(ds, event.identifier)]
    yield len(wanted)
    for ds in wanted:
        yield 0xFF00, ds


def move(event):
    if event.move_destination != "PRELIM":
        yield None, None
        return
    host, port = HOW["move"].rsplit(":", 1)
    yield host, int(port)
    yield from give(event)


def report(association, asked, is_failed):
    """Tells what is held: all of it, or none."""
    answer = Dataset()
    answer.TransactionUID = asked.TransactionUID
    if is_failed:
        answer.FailedSOPSequence = asked.ReferencedSOPSequence
        for item in answer.FailedSOPSequence:
            item.FailureReason = 0x0112
    else:
        answer.ReferencedSOPSequence = asked.ReferencedSOPSequence
    status, _ = association.send_n_event_report(answer, 2 if is_failed else 1, Commitment, WellKnown)
    note(reported=f"{status.Status:04X}", failed=is_failed)


def report_back(asked):
    caller = AE(ae_title="PACS")
    role = build_role(Commitment, scp_role=True)
    association = caller.associate("127.0.0.1", HOW["to"], [build_context(Commitment)], ae_title="PRELIM", ext_neg=[role])
    report(association, asked, False)
    association.release()


def commit(event):
    how = HOW["commit"]
    note(asked=[str(item.ReferencedSOPInstanceUID) for item in event.action_information.ReferencedSOPSequence])
    if how == "refused":
        return 0x0110, None
    is_failed = how == "failed" and not left.get("reported")
    left["reported"] = True
    asked = event.action_information
    if how == "back":
        threading.Timer(7, report_back, [asked]).start()
    elif how != "never":
        threading.Timer(0.3, report, [event.assoc, asked, is_failed]).start()
    return 0x0000, None


ae = AE(ae_title="PACS")
ae.maximum_associations = 20
ae.add_supported_context(Verification)
if not HOW.get("refuse"):
    for context in StoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, scu_role=True, scp_role=True)
if "move" in HOW:
    ae.requested_contexts = [c for c in StoragePresentationContexts if c.abstract_syntax in {str(ds.SOPClassUID) for ds in held}]
if "commit" in HOW:
    ae.add_supported_context(Commitment)
if held:
    ae.add_supported_context(Find)
    for asked, context in (("get", Get), ("move", Move)):
        if asked in HOW:
            ae.add_supported_context(context)
handlers = [(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find), (evt.EVT_C_GET, give), (evt.EVT_C_MOVE, move), (evt.EVT_N_ACTION, commit)]
server = ae.start_server(("127.0.0.1", PORT), block=False, evt_handlers=handlers)
print("listening", flush=True)
sys.stdin.read()
server.shutdown()
