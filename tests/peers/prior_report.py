"""Writes a structured report of an earlier study as others do, with highdicom: TID 1500, Comprehensive SR, verified.

    prior_report.py IMAGE OUT STUDY_UID STUDY_DATE STUDY_DESCRIPTION

The patient is the one of IMAGE, which the report does not show; it has one coded finding and sentences.
"""

import sys

import highdicom as hd
import pydicom
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

path, out, study, date, description = sys.argv[1:]
image = pydicom.dcmread(path)
image.StudyInstanceUID = study
image.StudyDate = date
image.StudyDescription = description
image.SeriesInstanceUID = generate_uid(entropy_srcs=[study, "series"])
image.SOPInstanceUID = generate_uid(entropy_srcs=[study, "image"])

person = hd.sr.ObserverContext(
    observer_type=Code("121006", "DCM", "Person"),
    observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name="Reader^Rita"),
)
mass = hd.sr.MeasurementsAndQualitativeEvaluations(
    tracking_identifier=hd.sr.TrackingIdentifier(identifier="mass", uid=generate_uid(entropy_srcs=[study, "mass"])),
    finding_type=Code("309529002", "SCT", "Lung mass"),
    finding_sites=[
        hd.sr.FindingSite(
            anatomic_location=Code("39607008", "SCT", "Lung"),
            laterality=Code("7771000", "SCT", "Left"),
        )
    ],
    measurements=[
        hd.sr.Measurement(
            name=Code("103339001", "SCT", "Long Axis"), value=77.0, unit=Code("mm", "UCUM", "millimeter")
        )
    ],
)
report = hd.sr.MeasurementReport(
    observation_context=hd.sr.ObservationContext(observer_person_context=person),
    procedure_reported=Code("399208008", "SCT", "Plain chest X-ray"),
    imaging_measurements=[mass],
    title=Code("126000", "DCM", "Imaging Measurement Report"),
)
# A section in words, as TID 2000 has it; the template is extensible.
words = hd.sr.ContainerContentItem(
    name=Code("121072", "DCM", "Impressions"), relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
)
words.ContentSequence = hd.sr.ContentSequence(
    [
        hd.sr.TextContentItem(
            name=Code("121073", "DCM", "Impression"),
            value=f"Large mass on the left in {image.PatientName.family_name}. <end_of_turn>",
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
    ]
)
report[0].ContentSequence.append(words)
sr = hd.sr.ComprehensiveSR(
    evidence=[image],
    content=report[0],
    series_instance_uid=generate_uid(entropy_srcs=[study, "sr series"]),
    series_number=2,
    sop_instance_uid=generate_uid(entropy_srcs=[study, "sr"]),
    instance_number=1,
    manufacturer="Another system",
    is_complete=True,
    is_final=True,
    is_verified=True,
    verifying_observer_name="Reader^Rita",
    verifying_organization="No hospital",
)
sr.save_as(out, enforce_file_format=True)
