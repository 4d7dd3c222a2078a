"""`dimse.py HOST PORT WHAT FILE…`: a DICOM sender that is not ours, for what DCMTK's do not do. Prints a JSON object."""

import io
import json
import socket
import sys
import threading
import time

import pynetdicom.association
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import (
    MRImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

HOST, PORT, WHAT, FILES = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]


def associate(contexts, title="PYNET", called="PRELIM"):
    ae = AE(ae_title=title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    return ae.associate(HOST, PORT, ae_title=called, contexts=contexts)


def contexts_of(files):
    """A context for each pair of SOP class and transfer syntax: objects go as they are."""
    pairs = {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in files}
    return [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]


def code(status):
    return f"{status.Status:04X}" if "Status" in status else "none"


def send(ds, association):
    try:
        return code(association.send_c_store(ds))
    except ValueError:  # its context was not accepted
        return "no context"


def store():
    """Each object in the transfer syntax that it has."""
    files = [dcmread(name) for name in FILES]
    association = associate(contexts_of(files))
    statuses = [send(ds, association) for ds in files]
    association.release()
    return {"statuses": statuses}


def hostile():
    """Each file's bytes as they are behind its meta group, which is all that is read of it here."""
    pynetdicom._config.STORE_SEND_CHUNKED_DATASET = True
    statuses = {}
    for name in FILES:
        try:
            meta = read_file_meta_info(name)
            contexts = [build_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)]
            # The names are the sender's: most of these files have none, or one that is not theirs.
            meta.MediaStorageSOPInstanceUID
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being sent
            statuses[name] = f"not sent: {type(error).__name__}"
            continue
        association = associate(contexts)
        try:
            statuses[name] = code(association.send_c_store(name)) if association.accepted_contexts else "no context"
        except Exception as error:  # noqa: BLE001
            statuses[name] = f"not sent: {type(error).__name__}"
        association.release()
    return {"statuses": statuses}


def lie():
    """The command names the instance of the first file, and the data set is the second."""
    named, sent = (dcmread(name) for name in FILES[:2])
    association = associate(contexts_of([named]))
    encode = pynetdicom.association.encode
    pynetdicom.association.encode = lambda _, *how: encode(sent, *how)
    status = association.send_c_store(named)
    association.release()
    return {"status": code(status), "comment": status.get("ErrorComment", "")}


def commit(waits=True):
    """Sends files, and asks for a commitment to them and to one that was not sent: what is reported, and on which association.

    With `commit_late` the association is released at once, and the report comes on one to the port FILES[0]."""
    files, port = [dcmread(name) for name in FILES[1:]], int(FILES[0])
    reports, told = [], threading.Event()

    def reported(event):
        said = event.event_information
        held = [str(item.ReferencedSOPInstanceUID) for item in said.get("ReferencedSOPSequence", [])]
        failed = [[str(item.ReferencedSOPInstanceUID), f"{item.FailureReason:04X}"] for item in said.get("FailedSOPSequence", [])]
        on = "the same" if event.assoc.is_requestor else "another"
        reports.append({"event": event.request.EventTypeID, "held": held, "failed": failed, "on": on, "uid": str(said.TransactionUID)})
        told.set()
        return 0x0000, None

    handlers = [(evt.EVT_N_EVENT_REPORT, reported)]
    listener = AE(ae_title="PYNET")
    listener.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = listener.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    ae = AE(ae_title="PYNET")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    contexts = contexts_of(files) + [build_context(StorageCommitmentPushModel)]
    association = ae.associate(HOST, PORT, ae_title="PRELIM", contexts=contexts, evt_handlers=handlers)
    statuses = [send(ds, association) for ds in files]
    asked = Dataset()
    asked.TransactionUID = "2.25.4711"
    asked.ReferencedSOPSequence = []
    pairs = [(ds.SOPClassUID, ds.SOPInstanceUID) for ds in files]
    pairs += [(files[0].SOPClassUID, "1.2.3.4.5"), (MRImageStorage, files[0].SOPInstanceUID)]
    for sop_class, instance in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        asked.ReferencedSOPSequence.append(item)
    if not waits:
        # The report is not answered on this association, which ends as soon as the request is answered.
        association._serve_request = lambda *_: None
    status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    if waits:
        told.wait(120)
        association.release()
    else:
        association.abort()
        told.wait(120)
    server.shutdown()
    return {"statuses": statuses, "action": code(status), "reports": reports}


def commit_late():
    return commit(waits=False)


def refused():
    """What is not stored is refused in negotiation."""
    association = associate([build_context(Verification), build_context(MRImageStorage)])
    result = {
        "accepted": [str(context.abstract_syntax) for context in association.accepted_contexts],
        "rejected": [[str(context.abstract_syntax), context.result] for context in association.rejected_contexts],
    }
    association.release()
    stranger = associate([build_context(Verification)], called="NOBODY")
    result["stranger"] = stranger.is_rejected
    return result


def abort():
    """Aborts in the middle of a data set, hangs up in the middle of a PDU, and sends what is no DICOM at all."""
    ds = dcmread(FILES[0])
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    request.DataSet = io.BytesIO(b"\x08\x00\x05\x00CS\x02\x00" * 4000)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    for ending in ("abort", "hang up"):
        association = associate(contexts_of([ds]))
        primitives = list(message.encode_msg(association.accepted_contexts[0].context_id, 1024))
        for primitive in primitives[: len(primitives) // 2]:
            association.dul.send_pdu(primitive)
        time.sleep(0.5)
        if ending == "hang up":
            association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x10\x00half")
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        association.abort()
    noises = (b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\xff\xff\xff\xff", bytes(200), b"\x01\x00\x00\x00\x00\x04\x00\x01\x00\x00")
    for noise in noises:
        with socket.create_connection((HOST, PORT), timeout=10) as raw:
            raw.sendall(noise)
            raw.settimeout(1)
            try:
                raw.recv(100)
            except (TimeoutError, ConnectionError):
                pass
    return {}


def crowd():
    """As many associations as FILES[0] says, held at once: how many were accepted, and how many rejected."""
    opened, rejected, lock = [], [], threading.Lock()

    def one():
        association = associate([build_context(Verification)])
        with lock:
            (opened if association.is_established else rejected).append(association)

    threads = [threading.Thread(target=one) for _ in range(int(FILES[0]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    echoes = [code(association.send_c_echo()) for association in opened]
    for association in opened:
        association.release()
    return {"accepted": len(opened), "rejected": len(rejected), "echoes": sorted(set(echoes))}


def drip():
    """A byte now and then: how long the server stands it, in s."""
    began = time.monotonic()
    with socket.create_connection((HOST, PORT), timeout=60) as raw:
        raw.settimeout(0.2)
        pdu = b"\x01\x00\x00\x00\x04\x00" + bytes(1024)
        for byte in pdu:
            try:
                raw.sendall(bytes([byte]))
                if raw.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return {"seconds": time.monotonic() - began}


if __name__ == "__main__":
    print(json.dumps(globals()[WHAT]()))
