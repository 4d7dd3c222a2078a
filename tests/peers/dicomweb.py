"""`dicomweb.py URL WHAT FILE…`: DICOMweb clients that are not ours: dicomweb-client, requests by hand, and Orthanc by its own.
Prints a JSON object."""

import hashlib
import http.client
import io
import json
import socket
import sys
import time
import zlib
from urllib.parse import urlsplit

import numpy
import pydicom.config
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

URL, WHAT, FILES = sys.argv[1], sys.argv[2], sys.argv[3:]
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
# An unknown value stays one: which numbers in it were to be turned round, nobody knows.
pydicom.config.replace_un_with_known_vr = False


def read(name):
    with open(name, "rb") as file:
        return file.read()


def related(objects, boundary="XX"):
    """A body of objects as parts."""
    head = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + data for data in objects) + f"\r\n--{boundary}--\r\n".encode()


def stow(body, path="/studies", content_type='multipart/related; type="application/dicom"; boundary=XX', **headers):
    return requests.post(URL + path, data=body, headers={"Content-Type": content_type, **headers}, timeout=120)


def parts(response):
    """The parts of an answer: their heads in lower case, and their bytes."""
    boundary = response.headers["Content-Type"].split("boundary=")[1].strip('"').encode()
    found = []
    for part in response.content.split(b"--" + boundary)[1:-1]:
        head, _, data = part[2:].partition(b"\r\n\r\n")
        found.append((head.decode().lower(), data[:-2]))
    return found


def where(ds):
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


def at(ds):
    study, series, instance = where(ds)
    return f"{URL}/studies/{study}/series/{series}/instances/{instance}"


def problem(response):
    kind = response.headers.get("Content-Type", "")
    detail = response.json().get("detail", "") if kind == "application/problem+json" else ""
    return [response.status_code, detail]


def reason(item):
    return [item["00081197"]["Value"][0], item["00000902"]["Value"][0]]


def store():
    """All files in one request of dicomweb-client; what its answer says."""
    answer = DICOMwebClient(URL).store_instances([dcmread(name) for name in FILES])
    stored = [item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence", [])]
    return {"stored": stored, "failed": len(answer.get("FailedSOPSequence", []))}


def send():
    """All files as they are, one request each; the statuses, and the reasons of refusals."""
    answers = {}
    for name in FILES:
        response = stow(related([read(name)]))
        answer = response.json()
        items = answer.get("00081198", answer.get("0008119A", {})).get("Value", [])
        answers[name] = [response.status_code, [reason(item) for item in items]]
    return answers


def same():
    """Each file by WADO-RS as it is stored: byte for byte what was sent; and dicomweb-client reads it."""
    client, different = DICOMwebClient(URL), []
    studies = {}
    for name in FILES:
        data = read(name)
        ds = dcmread(io.BytesIO(data), force=True)
        studies.setdefault(ds.StudyInstanceUID, {})[ds.SOPInstanceUID] = hashlib.sha256(data).hexdigest()
        single = requests.get(at(ds), headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
        if single.content != data or single.headers["Content-Length"] != str(len(data)):
            different.append(name)
    for study, held in studies.items():
        response = requests.get(f"{URL}/studies/{study}", headers={"Accept": AS_STORED}, timeout=60)
        got = {}
        for head, data in parts(response):
            read_back = dcmread(io.BytesIO(data))
            assert f"transfer-syntax={read_back.file_meta.TransferSyntaxUID}" in head, head
            got[read_back.SOPInstanceUID] = hashlib.sha256(data).hexdigest()
        if any(got.get(uid) != digest for uid, digest in held.items()):
            different.append(study)
        retrieved = client.retrieve_study(study, media_types=(("application/dicom", "*"),))
        # The draft may have come in between.
        if not set(held) <= {ds.SOPInstanceUID for ds in retrieved}:
            different.append(study)
    return {"files": len(FILES), "different": different}


def pixels_differ(one, other):
    """How far the pixels of two objects are apart at most."""
    one, other = one.pixel_array.astype(int), other.pixel_array.astype(int)
    return int(numpy.abs(one - other).max()) if one.shape == other.shape else f"{one.shape} {other.shape}"


def plain():
    """Each file in Explicit VR Little Endian: how far pixels are from what pydicom decodes of the original, and which other
    elements differ."""
    of_pixels = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration", "HighBit", "SpecificCharacterSet"}
    found = {}
    for name in FILES:
        ds = dcmread(name, force=True)
        response = requests.get(at(ds), headers={"Accept": "application/dicom"}, timeout=120)
        if response.status_code != 200:
            found[name] = problem(response)
            continue
        back = dcmread(io.BytesIO(response.content))
        assert back.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE, name
        changed = [e.keyword or str(e.tag) for e in ds if e.keyword not in of_pixels and differs(e, back.get(e.tag))]
        try:
            far = pixels_differ(ds, back)
        except Exception as error:  # pydicom has no decoder for the original
            far = type(error).__name__
        found[name] = {"pixels": far, "changed": changed}
    return found


def differs(element, other):
    if element.tag.element == 0 or element.tag.group == 0x7FE0 or element.keyword == "IconImageSequence":
        return False
    if other is None:
        return True
    if element.VR == "SQ":
        return len(element.value) != len(other.value)
    if element.VR == "FL" and element.value not in (None, ""):
        # 0.1 in JSON is the number of 32 bits that is nearest to it.
        return not numpy.array_equal(numpy.float32(element.value), numpy.float32(other.value))
    return element.value != other.value and str(element.value) != str(other.value)


def frames():
    """Frames of each file: decoded against pydicom, and as stored against the file's own fragments."""
    found = {}
    for name in FILES:
        ds = dcmread(name, force=True)
        count = int(ds.get("NumberOfFrames", 1))
        numbers = list(range(1, count + 1))
        client = DICOMwebClient(URL)
        try:
            decoded = client.retrieve_instance_frames(*where(ds), numbers, media_types=("application/octet-stream",))
        except requests.HTTPError as error:
            found[name] = {"refused": error.response.json()["detail"]}
            continue
        assert len(decoded) == count, name
        try:
            array = ds.pixel_array
            array = array if count > 1 else array[numpy.newaxis]
            little = array.dtype.newbyteorder("<")
            mine = [numpy.frombuffer(frame, little)[: array[0].size].reshape(array[0].shape) for frame in decoded]
            far = max(int(numpy.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(mine, array))
        except Exception as error:
            far = type(error).__name__
        compressed = None
        if ds["PixelData"].is_undefined_length:
            accept = 'multipart/related; type="*/*"; transfer-syntax=*'
            response = requests.get(f"{at(ds)}/frames/{','.join(map(str, numbers))}", headers={"Accept": accept}, timeout=60)
            stored = list(generate_frames(ds.PixelData, number_of_frames=count))
            got = parts(response)
            same_bytes = [data for _, data in got] == stored
            compressed = [same_bytes, got[0][0].removeprefix("content-type: ").split(";")[0]]
        past = requests.get(f"{at(ds)}/frames/{count + 1}", timeout=60).status_code
        found[name] = {"far": far, "compressed": compressed, "past": past}
    return found


def metadata():
    """The metadata of each file, read back by pydicom: which elements differ from the file's; and its bulk data."""
    client, found = DICOMwebClient(URL), {}
    for name in FILES:
        ds = dcmread(name, force=True)
        described = client.retrieve_instance_metadata(*where(ds))
        bulk = {}

        def fetch(tag, vr, uri):
            bulk[tag] = uri
            return b""

        back = Dataset.from_json(described, bulk_data_uri_handler=fetch)
        changed = []
        for element in ds:
            mine = back.get(element.tag)
            if element.keyword == "SpecificCharacterSet" or element.tag.element == 0:
                continue
            if isinstance(element.value, bytes) and mine is not None and mine.value == b"" and element.value:
                uri = next(uri for tag, uri in bulk.items() if tag.upper() == f"{element.tag:08X}".upper())
                if element.keyword == "PixelData" and ds["PixelData"].is_undefined_length:
                    continue
                got = b"".join(client.retrieve_bulkdata(uri))
                # Bulk data is Little Endian, whatever the file is.
                is_turned = element.keyword == "PixelData" and not ds.original_encoding[1]
                value = numpy.frombuffer(element.value, ">u2").astype("<u2").tobytes() if is_turned else element.value
                if got != value:
                    changed.append(element.keyword)
            elif differs(element, mine):
                changed.append(f"{element.keyword or element.tag}: {element.value!r} {mine and mine.value!r}"[:200])
        found[name] = changed
    return found


def search():
    """What searches with dicomweb-client find, for studies whose first file is given."""
    client = DICOMwebClient(URL)
    ds = dcmread(FILES[0])
    study, series, instance = where(ds)

    def uids(found, tag="0020000D"):
        return sorted(each[tag]["Value"][0] for each in found)

    def studies(**filters):
        return uids(client.search_for_studies(search_filters=filters))

    name = str(ds.PatientName)
    every = studies()
    pages = [client.search_for_studies(limit=2, offset=offset) for offset in range(0, len(every) + 1, 2)]
    one = client.search_for_studies(search_filters={"StudyInstanceUID": study})[0]
    return {
        "all": len(every),
        "paged": uids([each for page in pages for each in page]) == every,
        "by_id": studies(PatientID=ds.PatientID),
        "by_name": study in studies(PatientName=name[:3].lower() + "*"),
        "by_question_mark": study in studies(PatientID=ds.PatientID[:-1] + "?"),
        "by_date": study in studies(StudyDate=f"{ds.StudyDate}-{ds.StudyDate}"),
        "by_other_date": study in studies(StudyDate="19000101-19000102"),
        "by_modality": study in studies(ModalitiesInStudy=ds.Modality),
        "by_uids": studies(StudyInstanceUID=f"{study},1.2.3"),
        "by_nothing": studies(PatientID="nobody"),
        "usual": sorted(one),
        "address": one["00081190"]["Value"][0],
        "series": uids(client.search_for_series(study), "0020000E"),
        "series_by_modality": uids(client.search_for_series(study, search_filters={"Modality": "SR"}), "00080060"),
        "all_series": len(client.search_for_series(search_filters={"PatientID": ds.PatientID})),
        "instances": uids(client.search_for_instances(study, series), "00080018"),
        "rows": client.search_for_instances(study, series)[0]["00280010"]["Value"][0],
        "bits": client.search_for_instances(study, series)[0]["00280100"]["Value"][0],
        "described": "00081030" in client.search_for_studies(fields=["StudyDescription"], search_filters={"PatientID": ds.PatientID})[0],
        "empty": requests.get(f"{URL}/studies?PatientID=nobody", timeout=60).status_code,
        "unknown": problem(requests.get(f"{URL}/studies?Colour=red", timeout=60)),
        "unsearched": problem(requests.get(f"{URL}/studies?KVP=120", timeout=60)),
        "no_study": requests.get(f"{URL}/studies/1.2.3.4/series", timeout=60).status_code,
        "fuzzy": requests.get(f"{URL}/studies?fuzzymatching=true", timeout=60).headers.get("Warning", ""),
    }


def draft():
    """The draft of the study of a file: listed with the study, retrieved with it and alone, the same bytes each time."""
    client = DICOMwebClient(URL)
    ds = dcmread(FILES[0])
    study = ds.StudyInstanceUID
    series = [each for each in client.search_for_series(study) if each["00080060"]["Value"] == ["SR"]]
    if not series:
        return {"series": 0}
    uid = series[0]["0020000E"]["Value"][0]
    instance = client.search_for_instances(study, uid)[0]["00080018"]["Value"][0]
    path = f"{URL}/studies/{study}/series/{uid}/instances/{instance}"
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    copies = [requests.get(path, headers=accept, timeout=60).content for _ in range(3)]
    whole = [data for _, data in parts(requests.get(f"{URL}/studies/{study}", headers={"Accept": AS_STORED}, timeout=60))]
    report = dcmread(io.BytesIO(copies[0]))
    described = Dataset.from_json(client.retrieve_instance_metadata(study, uid, instance))
    found = client.search_for_studies(search_filters={"StudyInstanceUID": study})[0]
    return {
        "series": len(series),
        "same": len(set(copies)) == 1 and copies[0] in whole,
        "sha256": hashlib.sha256(copies[0]).hexdigest(),
        "study": report.StudyInstanceUID == study and report.PatientID == ds.PatientID,
        "flags": [report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag],
        "described": described.SOPInstanceUID == report.SOPInstanceUID and len(described.ContentSequence) > 0,
        "modalities": found["00080061"]["Value"],
        "instances": found["00201208"]["Value"][0],
        "no_frames": requests.get(f"{path}/frames/1", timeout=60).status_code,
    }


def study():
    """The study of the first file."""
    return dcmread(FILES[0]).StudyInstanceUID


def objects():
    """The objects of the draft of the study of the first file, beside the same as files, as they are sent: listed, counted and
    retrieved; by the modality of each. The number of the study's own files comes between."""
    client = DICOMwebClient(URL)
    image, count, *files = FILES
    study = dcmread(image).StudyInstanceUID
    found = client.search_for_studies(search_filters={"StudyInstanceUID": study})[0]
    series = client.search_for_series(study)
    instances = client.search_for_instances(study)
    counted = sum(each["00201209"]["Value"][0] for each in series)
    listed = {each["00080060"]["Value"][0] for each in series}
    whole = [data for _, data in parts(requests.get(f"{URL}/studies/{study}", headers={"Accept": AS_STORED}, timeout=60))]
    answer = {
        "counts": found["00201208"]["Value"][0] == counted == len(instances) == len(whole) == int(count) + len(files)
        and found["00201206"]["Value"][0] == len(series)
        == client.search_for_series(search_filters={"StudyInstanceUID": study, "Modality": "SR"})[0]["00201206"]["Value"][0],
        "modalities": set(found["00080061"]["Value"]) == listed,
        "found": {m: len(client.search_for_studies(search_filters={"ModalitiesInStudy": m, "StudyInstanceUID": study}))
                  for m in ("SR", "DOC", "OT", "KO", "PR")},
        "objects": {},
    }
    for name in files:
        data = read(name)
        ds = dcmread(io.BytesIO(data))
        back = dcmread(io.BytesIO(requests.get(at(ds), headers={"Accept": "application/dicom"}, timeout=60).content))
        by_class = client.search_for_instances(study, search_filters={"SOPClassUID": ds.SOPClassUID})
        by_modality = client.search_for_series(study, search_filters={"Modality": ds.Modality})
        bulk = {}
        described = Dataset.from_json(
            client.retrieve_instance_metadata(*where(ds)), bulk_data_uri_handler=lambda tag, vr, uri: bulk.update({tag: uri})
        )
        one = {
            "same": data in whole
            and requests.get(at(ds), headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60).content == data,
            "listed": [each["00080018"]["Value"][0] for each in by_class] == [ds.SOPInstanceUID]
            and [each["0020000E"]["Value"][0] for each in by_modality] == [ds.SeriesInstanceUID],
            "plain": [e.keyword for e in ds if differs(e, back.get(e.tag))],
            "metadata": described.SOPInstanceUID == ds.SOPInstanceUID and described.SeriesDescription == ds.SeriesDescription,
        }
        if ds.Modality == "OT":
            numbers = list(range(1, int(ds.NumberOfFrames) + 1))
            got = client.retrieve_instance_frames(*where(ds), numbers, media_types=("application/octet-stream",))
            size = ds.Rows * ds.Columns * 3
            one["frames"] = len(numbers) > 0 and b"".join(got) == ds.PixelData[: size * len(numbers)]
            picture = requests.get(f"{at(ds)}/frames/1/rendered", headers={"Accept": "image/png"}, timeout=60)
            shades = numpy.asarray(Image.open(io.BytesIO(picture.content)).convert("RGB"))
            one["rendered"] = shades.tobytes() == ds.PixelData[:size]
        if ds.Modality == "DOC":
            document = b"".join(client.retrieve_bulkdata(next(iter(bulk.values()))))
            page = requests.get(f"{at(ds)}/rendered", headers={"Accept": "application/pdf"}, timeout=60)
            one["rendered"] = page.content == document[: ds.EncapsulatedDocumentLength] and page.content[:5] == b"%PDF-"
        if ds.Modality == "SR":
            page = requests.get(f"{at(ds)}/rendered", headers={"Accept": "text/html"}, timeout=60)
            one["rendered"] = page.headers["Content-Type"] == "text/html" and "not a medical device" in page.text
        if ds.Modality in ("KO", "PR"):
            one["rendered"] = requests.get(f"{at(ds)}/rendered", timeout=60).status_code == 404
        answer["objects"][ds.Modality] = one
    # The study looks like its images.
    thumbnail = Image.open(io.BytesIO(requests.get(f"{URL}/studies/{study}/thumbnail", timeout=60).content))
    answer["grey"] = thumbnail.mode == "L"
    return answer


def requests_of_series():
    """Series by the requests that they were made for: the first file is sent with two, the second with none."""
    client = DICOMwebClient(URL)
    asked, other = dcmread(FILES[0]), dcmread(FILES[1])
    asked.RequestAttributesSequence = [Dataset(), Dataset()]
    for number, item in enumerate(asked.RequestAttributesSequence):
        item.ScheduledProcedureStepID, item.RequestedProcedureID = f"SPS{number}", f"RP{number}"
    client.store_instances([asked, other])

    def found(**filters):
        listed = client.search_for_series(search_filters={k.replace("__", "."): v for k, v in filters.items()})
        return sorted(each["0020000E"]["Value"][0] for each in listed)

    one = client.search_for_series(asked.StudyInstanceUID, search_filters={"Modality": asked.Modality})[0]
    none = client.search_for_series(other.StudyInstanceUID, search_filters={"Modality": other.Modality})[0]
    items = Dataset.from_json(one).RequestAttributesSequence
    return {
        "items": [[item.ScheduledProcedureStepID, item.RequestedProcedureID] for item in items],
        "none": "00400275" in none,
        "alone": "00400009" in one or "00401001" in one,
        "by_procedure": found(RequestAttributesSequence__RequestedProcedureID="RP1") == [asked.SeriesInstanceUID],
        "by_step": found(RequestAttributesSequence__ScheduledProcedureStepID="SPS*") == [asked.SeriesInstanceUID],
        "by_other": found(RequestAttributesSequence__RequestedProcedureID="RP2"),
    }


def rendered():
    """Pictures of an image: their sizes, kinds and shades."""
    ds = dcmread(FILES[0])

    def picture(path, accept="*/*", **params):
        response = requests.get(at(ds) + path, headers={"Accept": accept}, params=params, timeout=60)
        if response.status_code != 200:
            return problem(response)
        image = Image.open(io.BytesIO(response.content))
        return [response.headers["Content-Type"], image.format, image.size, float(numpy.asarray(image).mean())]

    array = ds.pixel_array.astype(float) * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))
    center, width = 40.0, 400.0
    shades = numpy.clip(((array - (center - 0.5)) / (width - 1) + 0.5), 0, 1) * 255
    study, series, _ = where(ds)
    return {
        "size": [int(ds.Columns), int(ds.Rows)],
        "usual": picture("/rendered"),
        "png": picture("/rendered", "image/png", window="40,400,linear"),
        "expected": float(shades.mean()),
        "small": picture("/frames/1/rendered", viewport="64,64"),
        "thumbnail": picture("/thumbnail"),
        "of_study": requests.get(f"{URL}/studies/{study}/thumbnail", timeout=60).status_code,
        "gif": picture("/rendered", "image/gif"),
        "wrong": picture("/rendered", window="40"),
    }


def hostile():
    """Bodies that are not what they should be; two files are given."""
    one, other = read(FILES[0]), read(FILES[1])
    study = dcmread(FILES[0]).StudyInstanceUID
    related_type = 'multipart/related; type="application/dicom"'
    bomb = zlib.compress(bytes(50 << 20))
    answers = {
        "no_boundary": problem(stow(related([one]), content_type=related_type)),
        "long_boundary": problem(stow(related([one]), content_type=f"{related_type}; boundary={'x' * 300}")),
        "other_boundary": problem(stow(related([one]), content_type=f"{related_type}; boundary=YY")),
        "json": problem(stow(b"[]", content_type='multipart/related; type="application/dicom+json"; boundary=XX')),
        "zip": problem(stow(one, content_type="application/zip")),
        "encoded": problem(stow(bomb, **{"Content-Encoding": "deflate"})),
        "nothing": problem(stow(b"")),
        "no_part": problem(stow(b"--XX--\r\n")),
        "garbage": problem(stow(bytes(1 << 20))),
        "long_head": problem(stow(b"--XX\r\nX: " + b"y" * 100_000)),
        "wrong_uid": problem(stow(related([one]), path="/studies/not.a.uid")),
        "delete": problem(requests.delete(f"{URL}/studies/{study}", timeout=60)),
        "traversal": requests.get(f"{URL}/studies/..%2f..%2fetc", timeout=60).status_code,
    }
    truncated = stow(related([one, other])[:-200])
    answers["truncated"] = [truncated.status_code, [reason(i) for i in truncated.json()["0008119A"]["Value"]]]
    elsewhere = stow(related([one]), path="/studies/1.2.3.4")
    answers["other_study"] = [elsewhere.status_code, [reason(i) for i in elsewhere.json()["00081198"]["Value"]]]
    text = stow(b"--XX\r\nContent-Type: text/plain\r\n\r\nhello\r\n--XX--")
    answers["text_part"] = [text.status_code, [reason(i) for i in text.json()["0008119A"]["Value"]]]
    host = urlsplit(URL)
    connection = http.client.HTTPConnection(host.hostname, host.port, timeout=30)
    connection.request("GET", host.path + "/studies", headers={"X": "y" * 300_000})
    answers["huge_header"] = connection.getresponse().status
    # A part that does not end, and a client that goes away in the middle.
    raw = socket.create_connection((host.hostname, host.port), timeout=30)
    raw.sendall(
        f"POST {host.path}/studies HTTP/1.1\r\nHost: localhost\r\nContent-Type: {related_type}; boundary=XX\r\n"
        f"Content-Length: 100000000\r\n\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n".encode()
    )
    for _ in range(50):
        raw.sendall(bytes(100_000))
    raw.close()
    answers["alive"] = requests.get(f"{URL}/studies", timeout=60).status_code
    return answers


def slow():
    """How long silence is stood, in s: in a head, and in a body."""
    host = urlsplit(URL)

    def stood(sent):
        began = time.monotonic()
        with socket.create_connection((host.hostname, host.port), timeout=60) as raw:
            raw.sendall(sent)
            answer = b""
            while piece := raw.recv(4096):
                answer += piece
        return [time.monotonic() - began, answer[:12].decode()]

    head = f"POST {host.path}/studies HTTP/1.1\r\nHost: localhost\r\n"
    kind = 'Content-Type: multipart/related; type="application/dicom"; boundary=XX\r\nContent-Length: 1000\r\n\r\n'
    return {"head": stood(head.encode()), "body": stood((head + kind + "--XX\r\n").encode())}


def access():
    """What callers are told: FILES are an authority, and for each caller a certificate, a key and a study."""
    authority, *callers = FILES
    answers = []
    for cert, key, study in zip(callers[::3], callers[1::3], callers[2::3]):
        shown = {"verify": authority, "cert": (cert, key), "timeout": 60}
        listed = requests.get(f"{URL}/studies", **shown)
        alone = requests.get(f"{URL}/studies/{study}/metadata", **shown)
        sent = requests.post(f"{URL}/studies", data=b"", **shown)
        found = [each["0020000D"]["Value"][0] for each in listed.json()] if listed.status_code == 200 else []
        answers.append([listed.status_code, found, alone.status_code, sent.status_code])
    return {"answers": answers}


def orthanc():
    """Orthanc sends its studies to us, and asks us for ours. Its address comes before the files."""
    peer, *files = FILES
    for name in files:
        requests.post(f"{peer}/instances", data=read(name), timeout=60).raise_for_status()
    studies = requests.get(f"{peer}/studies", timeout=60).json()
    server = f"{peer}/dicom-web/servers/prelim"
    sent = requests.post(f"{server}/stow", json={"Resources": studies, "Synchronous": True}, timeout=120)
    uids = {dcmread(name).StudyInstanceUID for name in files}
    found = requests.post(f"{server}/qido", json={"Uri": "/studies"}, timeout=60)
    for study in studies:
        requests.delete(f"{peer}/studies/{study}", timeout=60).raise_for_status()
    wanted = {"Resources": [{"Study": uid} for uid in sorted(uids)], "Synchronous": True}
    taken = requests.post(f"{server}/retrieve", json=wanted, timeout=120)
    held = requests.get(f"{peer}/instances?expand", timeout=60).json()
    same_bytes = 0
    for instance in held:
        data = requests.get(f"{peer}/instances/{instance['ID']}/file", timeout=60).content
        same_bytes += any(dcmread(name).SOPInstanceUID == dcmread(io.BytesIO(data)).SOPInstanceUID
                          and dcmread(name).PixelData == dcmread(io.BytesIO(data)).get("PixelData") for name in files)
    return {
        "sent": [sent.status_code, sent.json() if sent.ok else sent.text[:500]],
        "listed": [found.status_code, len(found.json()) if found.ok else found.text[:500]],
        "retrieved": [taken.status_code, taken.text[:500]],
        "held": len(held),
        "same": same_bytes,
    }


if __name__ == "__main__":
    print(json.dumps(globals()[WHAT]()))
