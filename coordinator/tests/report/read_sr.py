"""Prints what highdicom reads from a structured report, as JSON: flags, texts, measurement groups with regions."""

import json
import sys

import highdicom as hd
from pydicom.sr.codedict import codes


def code(concept):
    return [concept.value, concept.scheme_designator, concept.meaning]


def image(item):
    sop = item.ReferencedSOPSequence[0]
    frame = sop.get("ReferencedFrameNumber")
    return {"class": sop.ReferencedSOPClassUID, "instance": sop.ReferencedSOPInstanceUID, "frame": frame and int(frame)}


def region(roi):
    source = roi.ContentSequence[0]
    return {"points": roi.value.tolist(), "type": roi.graphic_type.value, "image": image(source)}


def site(item):
    modifiers = [code(child.value) for child in item.get("ContentSequence", [])]
    return {"site": code(item.value), "modifiers": modifiers}


def group(kind, template, regions):
    return {
        "kind": kind,
        "tracking_identifier": template.tracking_identifier,
        "tracking_uid": template.tracking_uid,
        "finding": code(template.finding_type),
        "sites": [site(item) for item in template.finding_sites],
        "measurements": [[code(m.name), float(m.value), m.unit.value] for m in template.get_measurements()],
        "evaluations": [[code(e.name), code(e.value)] for e in template.get_qualitative_evaluations()],
        "regions": regions,
    }


def texts(item, found):
    if item.ValueType == "TEXT":
        found.append([item.ConceptNameCodeSequence[0].CodeMeaning, item.TextValue])
    for child in item.get("ContentSequence", []):
        texts(child, found)
    return found


sr = hd.sr.srread(sys.argv[1])
report = sr.content
groups = [group("planar", g, [region(g.roi)]) for g in report.get_planar_roi_measurement_groups()]
groups += [group("volumetric", g, [region(r) for r in g.roi]) for g in report.get_volumetric_roi_measurement_groups()]
for g in report.get_image_measurement_groups():
    groups.append({**group("image", g, []), "images": [image(i) for i in g.source_images]})
observer = report.get_observer_contexts()[0]
summary = hd.sr.utils.find_content_items(report[0], name=codes.DCM.CADProcessingAndFindingsSummary, recursive=True)
evidence = sr.get("CurrentRequestedProcedureEvidenceSequence", [])
json.dump(
    {
        "class": sr.SOPClassUID.name,
        "patient": str(sr.PatientName),
        "flags": [sr.CompletionFlag, sr.VerificationFlag, sr.PreliminaryFlag],
        "series_description": sr.SeriesDescription,
        "observer": code(observer.observer_type)[0],
        "evidence": [
            sop.ReferencedSOPInstanceUID
            for study in evidence
            for series in study.ReferencedSeriesSequence
            for sop in series.ReferencedSOPSequence
        ],
        "summary": [code(item.value) for item in summary],
        "texts": texts(sr, []),
        "groups": groups,
    },
    sys.stdout,
)
