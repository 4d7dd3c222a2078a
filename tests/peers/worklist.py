"""`worklist.py URL WHAT ARGUMENT…`: clients of the worklist (UPS-RS): workitems built and read by pydicom, requests by hand, and
event reports read by websockets. Prints a JSON object."""

import json
import socket
import sys
import threading
import time

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.uri import parse_uri

URL, WHAT, ARGUMENTS = sys.argv[1], sys.argv[2], sys.argv[3:]
PUSH = "1.2.840.10008.5.1.4.34.6.1"
WORKLIST, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
JSON = {"Content-Type": "application/dicom+json", "Accept": "application/dicom+json"}


def code(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def workitem(study=None, station=None, codes=(), priority="MEDIUM", instances=(), **more):
    """A workitem as a Task Requester makes it: every attribute that PS3.4 table CC.2.5-3 has for N-CREATE."""
    ds = Dataset()
    ds.ScheduledProcedureStepPriority, ds.ProcedureStepLabel, ds.WorklistLabel = priority, "Chest AI", "AI"
    ds.ScheduledProcessingParametersSequence = []
    ds.ScheduledStationNameCodeSequence = [code(station, "L", station)] if station else []
    ds.ScheduledStationClassCodeSequence, ds.ScheduledStationGeographicLocationCodeSequence = [], []
    ds.ScheduledHumanPerformersSequence = []
    ds.ScheduledProcedureStepStartDateTime = "20200101120000+0000"
    ds.ScheduledWorkitemCodeSequence = [code(*each) for each in codes]
    ds.CommentsOnTheScheduledProcedureStep, ds.InputReadinessState = "", "READY"
    ds.InputInformationSequence = []
    if study:
        item = Dataset()
        item.TypeOfInstances, item.StudyInstanceUID, item.SeriesInstanceUID = "DICOM", study, more.pop("series", "")
        item.ReferencedSOPSequence = []
        for sop_class, instance in instances:
            reference = Dataset()
            reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, instance
            item.ReferencedSOPSequence.append(reference)
        if source := more.pop("source", None):
            retrieval = Dataset()
            retrieval.RetrieveAETitle = source
            item.DICOMRetrievalSequence = [retrieval]
        ds.InputInformationSequence = [item]
        ds.StudyInstanceUID = study
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "P-1", "", ""
    ds.OtherPatientIDsSequence, ds.AdmissionID, ds.IssuerOfAdmissionIDSequence = [], "", []
    ds.AdmittingDiagnosesDescription, ds.AdmittingDiagnosesCodeSequence = "", []
    ds.ReferencedRequestSequence = []
    ds.ProcedureStepState, ds.ProcedureStepProgressInformationSequence = "SCHEDULED", []
    ds.UnifiedProcedureStepPerformedProcedureSequence = []
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def patient(ds):
    """Whose images these are, as a workitem says it."""
    return {"PatientID": ds.PatientID, "PatientName": ds.PatientName, "PatientBirthDate": ds.get("PatientBirthDate", "")}


def answer(response):
    """Status, what the header Warning says, and what the problem is."""
    kind = response.headers.get("Content-Type", "")
    detail = response.json().get("detail", "") if kind == "application/problem+json" else ""
    return [response.status_code, response.headers.get("Warning", ""), detail]


def body(ds):
    return json.dumps([ds.to_json_dict()])


def create(ds, uid=None, url=URL):
    uid = uid or generate_uid()
    return uid, requests.post(f"{url}/workitems?{uid}", data=body(ds), headers=JSON, timeout=60)


def read(uid, url=URL):
    response = requests.get(f"{url}/workitems/{uid}", headers=JSON, timeout=60)
    return Dataset.from_json(response.json()[0]) if response.status_code == 200 else None


def update(uid, transaction=None, **attributes):
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    query = f"?transaction-uid={transaction}" if transaction else ""
    return requests.post(f"{URL}/workitems/{uid}{query}", data=body(ds), headers=JSON, timeout=60)


def move(uid, state, transaction=None, url=URL):
    ds = Dataset()
    ds.ProcedureStepState = state
    if transaction:
        ds.TransactionUID = transaction
    return requests.put(f"{url}/workitems/{uid}/state", data=body(ds), headers=JSON, timeout=60)


def cancel(uid, reason="no longer wanted", url=URL):
    ds = Dataset()
    ds.ReasonForCancellation, ds.ContactDisplayName = reason, "Reading room"
    return requests.post(f"{url}/workitems/{uid}/cancelrequest/REQUESTER", data=body(ds), headers=JSON, timeout=60)


def found(**filters):
    params = {keyword.replace("__", "."): value for keyword, value in filters.items()}
    response = requests.get(f"{URL}/workitems", params=params, headers=JSON, timeout=60)
    return [Dataset.from_json(each) for each in response.json()] if response.status_code == 200 else response.status_code


def subscribe(title, what=WORKLIST, url=URL, **params):
    return requests.post(f"{url}/workitems/{what}/subscribers/{title}", params=params, timeout=60)


def channel(title, url=URL):
    """Where an application entity listens."""
    return f"{url.replace('http', 'ws', 1)}/subscribers/{title}"


class Watcher:
    """An application entity that listens."""

    def __init__(self, title, url=URL):
        self.socket = connect(channel(title, url), open_timeout=120)
        self.reports, self.closed = [], None
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            for message in self.socket:
                self.reports.append(Dataset.from_json(message))
        finally:
            self.closed = self.socket.close_code

    def wait(self, holds, seconds=120):
        """Waits until something holds of the reports."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not holds(self.reports):
            time.sleep(0.02)
        return holds(self.reports)

    def told(self, uid=None):
        """What was told, in short: event type, and state or progress."""
        short = []
        for report in self.reports:
            if uid and report.AffectedSOPInstanceUID != uid:
                continue
            what = report.get("ProcedureStepState", "")
            if report.EventTypeID == 3 and report.ProcedureStepProgressInformationSequence:
                what = str(report.ProcedureStepProgressInformationSequence[0].get("ProcedureStepProgress", ""))
            short.append([report.EventTypeID, what])
        return short

    def saw(self, uid, state, seconds=120):
        return self.wait(lambda reports: any(
            r.AffectedSOPInstanceUID == uid and r.get("ProcedureStepState") == state for r in reports), seconds)


def performed(station="OTHER"):
    """What a performer says of its work."""
    output = Dataset()
    output.TypeOfInstances, output.StudyInstanceUID, output.SeriesInstanceUID = "DICOM", "1.2.3", "1.2.3.4"
    output.ReferencedSOPSequence = []
    ds = Dataset()
    ds.PerformedStationNameCodeSequence = [code(station, "L", station)]
    ds.PerformedProcedureStepStartDateTime, ds.PerformedProcedureStepEndDateTime = "20260101120000", "20260101120100"
    ds.PerformedWorkitemCodeSequence = [code("110005", "DCM", "Interpretation")]
    ds.OutputInformationSequence = [output]
    return ds


def outside():
    """An outside performer: found, claimed, updated and completed, with what is refused on the way; and a watcher."""
    watcher = Watcher("WATCHER")
    answers = {"subscribe": answer(subscribe("WATCHER"))}
    uid, created = create(workitem(station="OTHER"))
    answers["create"] = answer(created) + [created.headers["Location"] == f"{URL}/workitems/{uid}"]
    answers["again"] = answer(create(workitem(station="OTHER"), uid)[1])
    incomplete = workitem()
    del incomplete.ProcedureStepLabel
    answers["incomplete"] = answer(create(incomplete)[1])
    bare = workitem()
    del bare.AdmissionID
    answers["modified"] = answer(create(bare)[1])
    answers["no_json"] = answer(requests.post(f"{URL}/workitems", data=b"{", headers=JSON, timeout=60))
    answers["xml"] = answer(requests.post(f"{URL}/workitems", data=b"<x/>", headers={"Content-Type": "application/dicom+xml"}, timeout=60))
    answers["large"] = answer(create(workitem(CommentsOnTheScheduledProcedureStep="x" * 300_000))[1])
    listed = found(ScheduledStationNameCodeSequence__CodeValue="OTHER", ProcedureStepState="SCHEDULED")
    answers["listed"] = [each.SOPInstanceUID == uid for each in listed]
    answers["by_date"] = len(found(ScheduledProcedureStepStartDateTime="20200101-20200102"))
    answers["unlisted"] = found(ScheduledStationNameCodeSequence__CodeValue="NOBODY")
    answers["unknown"] = answer(requests.get(f"{URL}/workitems?Colour=red", timeout=60))
    transaction, other = generate_uid(), generate_uid()
    answers["too_early"] = answer(move(uid, "COMPLETED", transaction))
    answers["no_transaction"] = answer(move(uid, "IN PROGRESS"))
    answers["update_scheduled"] = answer(update(uid, ProcedureStepLabel="Chest AI, again"))
    answers["update_unclaimed"] = answer(update(uid, transaction, ProcedureStepLabel="x"))
    answers["claim"] = answer(move(uid, "IN PROGRESS", transaction))
    answers["claim_again"] = answer(move(uid, "IN PROGRESS", transaction))
    answers["claim_by_other"] = answer(move(uid, "IN PROGRESS", other))
    claimed = read(uid)
    answers["shown"] = [claimed.ProcedureStepState, "TransactionUID" in claimed, claimed.ProcedureStepLabel]
    progress = Dataset()
    progress.ProcedureStepProgress, progress.ProcedureStepProgressDescription = "50", "half"
    answers["update_without"] = answer(update(uid, ProcedureStepProgressInformationSequence=[progress]))
    answers["update_by_other"] = answer(update(uid, other, ProcedureStepProgressInformationSequence=[progress]))
    answers["update"] = answer(update(uid, transaction, ProcedureStepProgressInformationSequence=[progress]))
    answers["update_fixed"] = answer(update(uid, transaction, PatientID="P-2"))
    answers["unfinished"] = answer(move(uid, "COMPLETED", transaction))
    answers["cancel_requested"] = answer(cancel(uid))
    answers["results"] = answer(update(uid, transaction, UnifiedProcedureStepPerformedProcedureSequence=[performed()]))
    answers["complete_by_other"] = answer(move(uid, "COMPLETED", other))
    answers["complete"] = answer(move(uid, "COMPLETED", transaction))
    answers["complete_again"] = answer(move(uid, "COMPLETED", transaction))
    answers["cancel_completed"] = answer(cancel(uid))
    answers["update_completed"] = answer(update(uid, transaction, ProcedureStepLabel="x"))
    watcher.saw(uid, "COMPLETED")
    answers["told"] = watcher.told(uid)
    asked = [r for r in watcher.reports if r.EventTypeID == 2]
    answers["asked"] = [[r.RequestingAE, r.ReasonForCancellation, r.ContactDisplayName] for r in asked]
    answers["messages"] = [r.AffectedSOPClassUID == PUSH for r in watcher.reports] == [True] * len(watcher.reports)
    unclaimed, _ = create(workitem(station="OTHER"))
    answers["cancel_scheduled"] = answer(cancel(unclaimed))
    watcher.saw(unclaimed, "CANCELED")
    answers["told_canceled"] = watcher.told(unclaimed)
    canceled = read(unclaimed).ProcedureStepProgressInformationSequence[0]
    answers["reason"] = [canceled.ReasonForCancellation, "ProcedureStepCancellationDateTime" in canceled]
    answers["cancel_canceled"] = answer(cancel(unclaimed))
    answers["nobody"] = [read("1.2.3.4"), answer(move("1.2.3.4", "IN PROGRESS", transaction))[0], answer(cancel("1.2.3.4"))[0]]
    return answers


def subscriptions():
    """Who is told of what: of one workitem, of all, of those that fit a filter; suspended, ended, and not before."""
    one, every, some, late = (Watcher(title) for title in ("ONE", "EVERY", "SOME", "LATE"))
    first, _ = create(workitem(station="OTHER", PatientID="P-1"))
    answers = {
        "one": [r := subscribe("ONE", first), r.status_code, r.headers["Content-Location"]][1:],
        "every": subscribe("EVERY", deletionlock="true").status_code,
        "some": subscribe("SOME", FILTERED, filter="PatientID=P-2").status_code,
        "no_filter": answer(subscribe("SOME", FILTERED)),
        "wrong_filter": answer(subscribe("SOME", FILTERED, filter="Colour=red")),
        "nothing": subscribe("ONE", "1.2.3.4").status_code,
    }
    one.saw(first, "SCHEDULED"), every.saw(first, "SCHEDULED")
    second, _ = create(workitem(station="OTHER", PatientID="P-2"))
    every.saw(second, "SCHEDULED"), some.saw(second, "SCHEDULED")
    # The claim changes what a filter could look at; who was told of the workitem still is.
    for uid in (first, second):
        move(uid, "IN PROGRESS", generate_uid())
    some.saw(second, "IN PROGRESS"), every.saw(second, "IN PROGRESS"), one.saw(first, "IN PROGRESS")
    suspended = requests.post(f"{URL}/workitems/{WORKLIST}/subscribers/EVERY/suspend", timeout=60).status_code
    ended = requests.delete(f"{URL}/workitems/{FILTERED}/subscribers/SOME", timeout=60).status_code
    subscribe("LATE")
    third, _ = create(workitem(station="OTHER", PatientID="P-2"))
    late.saw(third, "SCHEDULED")
    cancel(second), cancel(third)
    every.wait(lambda reports: [2, ""] in every.told(second)), late.saw(third, "CANCELED")
    plain = requests.get(f"{URL}/subscribers/EVERY", timeout=60)
    names = {first: "first", second: "second", third: "third"}
    answers["told"] = {
        watcher: [[names[r.AffectedSOPInstanceUID], r.EventTypeID, r.get("ProcedureStepState", "")] for r in each.reports]
        for watcher, each in {"one": one, "every": every, "some": some, "late": late}.items()
    }
    answers["ended"] = [suspended, ended]
    answers["plain"] = [plain.status_code, plain.headers.get("Upgrade", "")]
    answers["numbers"] = [r.MessageID for r in every.reports] == list(range(1, len(every.reports) + 1))
    return answers


def outputs(uid):
    """What a completed workitem says of its outputs, and whether it can be had from where it says."""
    ds = read(uid)
    step = ds.UnifiedProcedureStepPerformedProcedureSequence[0]
    client, got = DICOMwebClient(URL), []
    for item in step.OutputInformationSequence:
        address = item.WADORSRetrievalSequence[0].RetrieveURL
        for reference in item.ReferencedSOPSequence:
            same = client.retrieve_instance(item.StudyInstanceUID, item.SeriesInstanceUID, reference.ReferencedSOPInstanceUID)
            series = requests.get(address, headers={"Accept": 'multipart/related; type="application/dicom"'}, timeout=60)
            titles = [retrieval.RetrieveAETitle for retrieval in item.get("DICOMRetrievalSequence", [])]
            got.append([same.Modality, same.SOPClassUID == reference.ReferencedSOPClassUID, series.status_code, titles])
    return {
        "state": ds.ProcedureStepState,
        "outputs": got,
        "station": [item.CodeValue for item in step.PerformedStationNameCodeSequence],
        "codes": [item.CodeValue for item in step.PerformedWorkitemCodeSequence],
        "times": "PerformedProcedureStepStartDateTime" in step and "PerformedProcedureStepEndDateTime" in step,
        "percent": str(ds.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress),
        "words": step.PerformedProcedureStepDescription,
    }


def whole():
    """A workitem for the study of a file, made before the images are sent; watched until it is completed, with its outputs."""
    ds = dcmread(ARGUMENTS[0])
    watcher = Watcher("WATCHER")
    subscribe("WATCHER")
    named = [(ds.SOPClassUID, ds.SOPInstanceUID)]
    uid, created = create(workitem(ds.StudyInstanceUID, ARGUMENTS[1] if len(ARGUMENTS) > 1 else "PRELIM", priority="HIGH",
                                   series=ds.SeriesInstanceUID, instances=named, **patient(ds)))
    before = read(uid).ProcedureStepState
    DICOMwebClient(URL).store_instances([ds])
    completed = watcher.saw(uid, "COMPLETED") or watcher.told(uid)
    return {"create": created.status_code, "before": before, "completed": completed, "told": watcher.told(uid), **outputs(uid)}


def begin():
    """A workitem for the study of a file that is sent, at one of two coordinators; waits until it is claimed."""
    ds = dcmread(ARGUMENTS[0])
    DICOMwebClient(URL).store_instances([ds])
    uid, _ = create(workitem(ds.StudyInstanceUID, codes=[("110004", "DCM", "Computer Aided Detection")],
                             series=ds.SeriesInstanceUID, instances=[(ds.SOPClassUID, ds.SOPInstanceUID)], **patient(ds)))
    return {"uid": uid, "state": until(uid, "IN PROGRESS")}


def until(uid, state, seconds=120):
    """Waits until a workitem is in a state; the state that it is in then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ds = read(uid)
        if ds is not None and ds.ProcedureStepState == state:
            return state
        time.sleep(0.1)
    return str(ds.ProcedureStepState if ds is not None else None)


def wait():
    """Waits until a workitem is completed."""
    return {"state": until(ARGUMENTS[0], "COMPLETED"), **outputs(ARGUMENTS[0])}


def stop():
    """Asks that a claimed workitem be canceled; how it ends."""
    canceled = answer(cancel(ARGUMENTS[0], "wrong patient"))
    ds = read(ARGUMENTS[0])
    progress = ds.ProcedureStepProgressInformationSequence[0]
    return {"answer": canceled, "state": ds.ProcedureStepState, "reason": progress.ReasonForCancellation}


def reason():
    """A workitem for the study of a file that is held; how it is canceled by us."""
    ds = dcmread(ARGUMENTS[0])
    uid, _ = create(workitem(ds.StudyInstanceUID, "PRELIM", **patient(ds)))
    state = until(uid, "CANCELED")
    several = workitem(ds.StudyInstanceUID, "PRELIM", **patient(ds))
    other = Dataset()
    other.StudyInstanceUID = "1.2.3"
    several.InputInformationSequence.append(other)
    second, _ = create(several)
    until(second, "CANCELED")
    # Of somebody else, by its Patient ID.
    third, _ = create(workitem(ds.StudyInstanceUID, "PRELIM"))
    until(third, "CANCELED")
    reasons = [read(each).ProcedureStepProgressInformationSequence[0].ReasonForCancellation for each in (uid, second, third)]
    return {"state": state, "reasons": reasons}


def taken():
    """A workitem for prelim that another performer claims first, with progress of its own; what becomes of it."""
    uid, _ = create(workitem("1.2.826.7.1", "PRELIM"))
    transaction = generate_uid()
    claimed = move(uid, "IN PROGRESS", transaction).status_code
    progress = Dataset()
    progress.ProcedureStepProgress = "40"
    updated = update(uid, transaction, ProcedureStepProgressInformationSequence=[progress]).status_code
    # Long enough for prelim to look at it several times.
    time.sleep(5)
    ds = read(uid)
    left = [ds.ProcedureStepState, float(ds.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress)]
    update(uid, transaction, UnifiedProcedureStepPerformedProcedureSequence=[performed()])
    ended = move(uid, "COMPLETED", transaction).status_code
    return {"answers": [claimed, updated, ended], "left": left, "state": read(uid).ProcedureStepState}


def fetched():
    """A workitem for a study that a PACS has; the study, and the title of the PACS."""
    uid, _ = create(workitem(ARGUMENTS[0], "PRELIM", source=ARGUMENTS[1], PatientID=""))
    return {"reached": until(uid, "COMPLETED"), **outputs(uid)}


def pair():
    """Two coordinators on one store, the other one's address first: who listens to one hears of what is done at the other."""
    other, image = ARGUMENTS
    ds = dcmread(image)
    here, there = Watcher("HERE"), Watcher("THERE", other)
    subscribe("HERE"), subscribe("THERE", url=other)
    uid, _ = create(workitem(station="OTHER"))
    same = read(uid, other).ProcedureStepState
    claims = {}

    def claim(url):
        transaction = generate_uid()
        claims[url] = [move(uid, "IN PROGRESS", transaction, url).status_code, transaction]

    threads = [threading.Thread(target=claim, args=(url,)) for url in (URL, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    here.saw(uid, "IN PROGRESS"), there.saw(uid, "IN PROGRESS")
    DICOMwebClient(URL).store_instances([ds])
    ours, _ = create(workitem(ds.StudyInstanceUID, "PRELIM", instances=[(ds.SOPClassUID, ds.SOPInstanceUID)], **patient(ds)), url=other)
    heard = [watcher.saw(ours, "COMPLETED") for watcher in (here, there)]
    return {
        "same": same,
        "told": [watcher.told(uid) for watcher in (here, there)],
        "heard": heard,
        "told_alike": here.told(ours) == there.told(ours),
        "states": [what for kind, what in here.told(ours) if kind == 1],
    }


class Late:
    """An application entity that reads nothing until it has said something."""

    def __init__(self, title):
        uri = parse_uri(channel(title))
        self.protocol = ClientProtocol(uri)
        self.socket = socket.create_connection((uri.host, uri.port), timeout=30)
        self.protocol.send_request(self.protocol.connect())
        self.send()
        while self.protocol.state is State.CONNECTING:
            self.protocol.receive_data(self.socket.recv(1))

    def send(self):
        self.socket.sendall(b"".join(self.protocol.data_to_send()))

    def end(self):
        """Speaks, then reads until the other side ends: the reports, and the code that it closed with.

        On a slow machine the other side has ended before that: it hears no more then, and what it sent is there all the same."""
        try:
            self.protocol.send_ping(b"")
            self.send()
            time.sleep(0.2)
            while data := self.socket.recv(65536):
                self.protocol.receive_data(data)
                self.send()
        except OSError:
            self.socket.setblocking(False)
            try:
                while data := self.socket.recv(65536):
                    self.protocol.receive_data(data)
            except OSError:
                pass
        self.protocol.receive_eof()
        texts = [each for each in self.protocol.events_received() if getattr(each, "opcode", None) == Opcode.TEXT]
        return [Dataset.from_json(text.data.decode()) for text in texts], self.protocol.close_code


def told(reports, closed):
    """The last report, in short, and how the channel was closed."""
    last = reports[-1] if reports else Dataset()
    return {"status": last.get("SCPStatus", ""), "kind": last.get("EventTypeID", 0), "closed": closed}


def closing():
    """Watchers until the coordinator goes down: prints a line when they listen; what they are told at the end.

    One speaks late, and reads after that: what it is sent must not be lost by a connection that is closed under it.
    """
    watcher, late = Watcher("WATCHER"), Late("LATE")
    print("listening", flush=True)
    watcher.thread.join(60)
    time.sleep(0.5)
    return [told(watcher.reports, watcher.closed), told(*late.end())]


def access():
    """What callers may do: ARGUMENTS are an authority, and for each caller a certificate and a key."""
    authority, *pairs = ARGUMENTS
    uid, answers = generate_uid(), []
    for cert, key in zip(pairs[::2], pairs[1::2]):
        shown = {"verify": authority, "cert": (cert, key), "timeout": 60, "headers": JSON}
        created = requests.post(f"{URL}/workitems?{uid}", data=body(workitem(station="OTHER")), **shown)
        seen = requests.get(f"{URL}/workitems/{uid}", **shown)
        listed = requests.get(f"{URL}/workitems", **shown)
        channel = requests.get(f"{URL}/subscribers/AE1", **shown)
        answers.append([created.status_code, seen.status_code, listed.status_code, channel.status_code])
    return {"answers": answers, "uid": uid}


if __name__ == "__main__":
    print(json.dumps(globals()[WHAT]()))
