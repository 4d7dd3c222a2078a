"""Prints what pydicom and highdicom read from a DICOM object of a draft, as JSON."""

import hashlib
import json
import sys

import highdicom as hd
import pydicom

ds = pydicom.dcmread(sys.argv[1])


def reference(item):
    frame = item.get("ReferencedFrameNumber")
    frames = [] if frame is None else [int(f) for f in frame] if isinstance(frame, pydicom.multival.MultiValue) else [int(frame)]
    return {"class": item.ReferencedSOPClassUID, "instance": item.ReferencedSOPInstanceUID, "frames": frames}


said = {
    "class": ds.SOPClassUID.name,
    "instance": ds.SOPInstanceUID,
    "study": ds.StudyInstanceUID,
    "series": ds.SeriesInstanceUID,
    "modality": ds.Modality,
    "patient": str(ds.PatientName),
    "patient_id": ds.PatientID,
    "series_description": ds.SeriesDescription,
    "characters": ds.SpecificCharacterSet,
    "qualification": ds.ContentQualification,
    "contribution": ds.ContributingEquipmentSequence[0].ContributionDescription,
}
if "EncapsulatedDocument" in ds:
    document = ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]
    said["pdf"] = {"length": len(document), "sha256": hashlib.sha256(document).hexdigest()}
    said["sources"] = [reference(item) for item in ds.get("SourceInstanceSequence", [])]
if "PixelData" in ds:
    pixels = ds.pixel_array
    pixels = pixels if pixels.ndim == 4 else pixels[None]
    said["pixels"] = {
        "shape": list(pixels.shape),
        "top": [frame[2, -2].tolist() for frame in pixels],
        "colours": [sorted({tuple(map(int, p)) for row in frame[::1] for p in row if len(set(p)) > 1}) for frame in pixels[:1]],
    }
    said["burned_in"] = ds.BurnedInAnnotation
    said["sources"] = [reference(item) for item in ds.SourceImageSequence]
if ds.SOPClassUID == pydicom.uid.KeyObjectSelectionDocumentStorage:
    document = hd.ko.KeyObjectSelectionDocument.from_dataset(ds)
    content = document.content
    said["title"] = [ds.ConceptNameCodeSequence[0].CodeValue, ds.ConceptNameCodeSequence[0].CodeMeaning]
    said["images"] = [reference(item.ReferencedSOPSequence[0]) for item in content.get_references()]
    said["evidence"] = [
        sop.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    ]
if "GraphicAnnotationSequence" in ds:
    state = hd.pr.GrayscaleSoftcopyPresentationState
    said["is_of_highdicom"] = ds.SOPClassUID == pydicom.uid.GrayscaleSoftcopyPresentationStateStorage and state is not None
    said["annotations"] = [
        {
            "images": [reference(item) for item in annotation.ReferencedImageSequence],
            "graphics": [
                {"type": g.GraphicType, "units": g.GraphicAnnotationUnits, "points": [float(v) for v in g.GraphicData]}
                for g in annotation.GraphicObjectSequence
            ],
            "texts": [t.UnformattedTextValue for t in annotation.TextObjectSequence],
        }
        for annotation in ds.GraphicAnnotationSequence
    ]
    said["rescale"] = [float(ds.RescaleSlope), float(ds.RescaleIntercept), ds.RescaleType]
    said["windows"] = [
        [float(voi.WindowCenter), float(voi.WindowWidth), voi.VOILUTFunction]
        for voi in ds.get("SoftcopyVOILUTSequence", [])
    ]
    said["areas"] = [
        list(area.DisplayedAreaTopLeftHandCorner) + list(area.DisplayedAreaBottomRightHandCorner)
        for area in ds.DisplayedAreaSelectionSequence
    ]
    said["referenced"] = [
        reference(image) for series in ds.ReferencedSeriesSequence for image in series.ReferencedImageSequence
    ]
    said["shape"] = ds.PresentationLUTShape
json.dump(said, sys.stdout)
