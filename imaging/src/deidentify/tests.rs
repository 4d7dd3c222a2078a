//! Objects made for the purpose: nested, in every encoding, and wrong.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::write::{Out, file_header};
use super::*;
use crate::syntax::Encoding;

const DX: &str = "1.2.840.10008.5.1.4.1.1.1.1";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// What is planted wherever it must not come out.
const SECRET: &str = "ROSENKAVALIER";

fn key() -> Key {
    Key::new(&[b'k'; 32]).unwrap()
}

/// A file of `class` whose data set has what `more` adds, in order of tag.
fn object(class: &str, syntax: &str, more: impl FnOnce(&mut Out)) -> Vec<u8> {
    let encoding = crate::syntax::TransferSyntax::new(syntax).encoding();
    let mut out = Out::new(encoding, 1024);
    out.text(tags::SOP_CLASS_UID, VR::UI, class);
    out.text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.3");
    out.text(tags::STUDY_DATE, VR::DA, "20240301");
    out.text(tags::ACCESSION_NUMBER, VR::SH, SECRET);
    out.text(tags::PATIENT_NAME, VR::PN, &format!("{SECRET}^{SECRET}"));
    out.text(tags::PATIENT_ID, VR::LO, &format!("{SECRET}1"));
    out.text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3.1");
    out.text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.2");
    more(&mut out);
    let data_set = out.into_bytes();
    let data_set = if syntax == "1.2.840.10008.1.2.1.99" { write::deflated(&data_set) } else { data_set };
    [file_header(class, "1.2.3.3", syntax), data_set].concat()
}

fn cleaned(file: &[u8], options: Options) -> Deidentified {
    let done = deidentify(file, &key(), &options, &Limits::default()).unwrap();
    let scanned = scan(&done.bytes, &Limits::default()).unwrap();
    assert!(!String::from_utf8_lossy(scanned.bytes()).contains(SECRET), "{SECRET} came out");
    done
}

/// Reads something of the cleaned object.
fn read<T>(done: &Deidentified, read: impl FnOnce(&Attributes<'_>) -> T) -> T {
    read(&scan(&done.bytes, &Limits::default()).unwrap().attributes())
}

#[test]
fn identifiers_are_pseudonyms_and_the_object_says_what_was_done() {
    let done = cleaned(&object(DX, EXPLICIT, |_| {}), Options::default());
    assert_eq!(done.original.patient_id, format!("{SECRET}1"));
    read(&done, |root| {
        let text = |tag| root.text(tag).unwrap_or_default();
        assert_eq!(text(tags::PATIENT_ID), key().patient(&format!("{SECRET}1")));
        assert_eq!(text(tags::PATIENT_NAME), text(tags::PATIENT_ID));
        assert_eq!(text(tags::ACCESSION_NUMBER), key().accession(SECRET));
        assert_eq!(text(tags::STUDY_INSTANCE_UID), key().uid("1.2.3.1"));
        assert_eq!(text(tags::SOP_CLASS_UID), DX);
        assert_eq!(text(tags::PATIENT_IDENTITY_REMOVED), "YES");
        assert_eq!(text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED), "REMOVED");
        assert!(root.has(tags::STUDY_DATE) && text(tags::STUDY_DATE).is_empty());
        let codes: Vec<_> = root.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).collect();
        assert_eq!((codes.len(), codes[0].text(tags::CODE_VALUE).unwrap()), (1, "113100".into()));
    });
}

#[test]
fn options_keep_what_they_name_and_say_so() {
    let file = object(DX, EXPLICIT, |out| {
        out.text(tags::PATIENT_AGE, VR::AS, "046Y");
        out.text(tags::PATIENT_BIRTH_DATE, VR::DA, "19780301");
        out.text(tags::ALLERGIES, VR::LO, SECRET);
        out.text(tags::DATE_OF_LAST_CALIBRATION, VR::DA, "20240228");
    });
    let done = cleaned(&file, Options { keeps_characteristics: true, keeps_dates: true, ..Options::default() });
    let days = key().shift_days(&format!("{SECRET}1"));
    read(&done, |root| {
        let moved = |date: &[u8]| String::from_utf8(value::moved(VR::DA, date, days).unwrap()).unwrap();
        assert_eq!(root.text(tags::STUDY_DATE).unwrap(), moved(b"20240301"));
        assert_eq!(root.text(tags::DATE_OF_LAST_CALIBRATION).unwrap(), moved(b"20240228"));
        assert_eq!(root.text(tags::PATIENT_AGE).unwrap(), "046Y");
        assert!(root.has(tags::PATIENT_BIRTH_DATE) && root.text(tags::PATIENT_BIRTH_DATE).is_none());
        assert!(!root.has(tags::ALLERGIES));
        let codes: Vec<_> =
            root.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).filter_map(|c| c.text(tags::CODE_VALUE)).collect();
        assert_eq!(codes, ["113100", "113107", "113108"]);
        assert_eq!(root.text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED).unwrap(), "MODIFIED");
    });
}

#[test]
fn what_is_nested_private_or_unknown_is_treated_too() {
    let code = |out: &mut Out, scheme: &str, words: &str| {
        out.text(tags::CODE_VALUE, VR::SH, if scheme == "DCM" { "121071" } else { words });
        out.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
        out.text(tags::CODE_MEANING, VR::LO, if scheme == "DCM" { "Finding" } else { words });
    };
    let file = object(DX, EXPLICIT, |out| {
        out.text(tags::REFERENCED_IMAGE_SEQUENCE, VR::LO, SECRET);
        out.sequence(tags::SOURCE_IMAGE_SEQUENCE, [()], |out, ()| {
            out.text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, DX);
            out.text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.3.3");
            out.sequence(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, [()], |out, ()| {
                out.text(tags::CODE_MEANING, VR::LO, SECRET);
                out.text(tags::OPERATORS_NAME, VR::PN, SECRET);
                out.text(Tag(0x0019, 0x1001), VR::LO, SECRET);
            });
        });
        out.sequence(tags::CONTENT_SEQUENCE, ["DCM", "99SECRET"], |out, scheme| {
            out.text(tags::VALUE_TYPE, VR::CS, "TEXT");
            out.sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, [()], |out, ()| code(out, scheme, SECRET));
            out.text(tags::TEXT_VALUE, VR::UT, SECRET);
            out.text(tags::PERSON_NAME, VR::PN, SECRET);
            out.sequence(tags::PERSON_IDENTIFICATION_CODE_SEQUENCE, [()], |out, ()| {
                out.text(tags::CODE_VALUE, VR::SH, SECRET);
                out.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT");
            });
        });
        out.text(Tag(0x0009, 0x0010), VR::LO, SECRET);
        out.text(Tag(0x0018, 0xFFF0), VR::LO, SECRET);
        out.text(tags::ROWS, VR::LO, SECRET);
        out.text(tags::INSTANCE_NUMBER, VR::IS, SECRET);
        out.text(tags::VIEW_POSITION, VR::CS, &format!("{SECRET}^X"));
        out.text(Tag(0x5000, 0x3000), VR::OW, SECRET);
        out.text(Tag(0x6000, 0x3000), VR::OW, SECRET);
        out.text(tags::EVALUATOR_NAME, VR::PN, SECRET);
    });
    read(&cleaned(&file, Options::default()), |root| {
        let source = root.item(tags::SOURCE_IMAGE_SEQUENCE).unwrap();
        assert_eq!(source.text(tags::REFERENCED_SOP_INSTANCE_UID), root.text(tags::SOP_INSTANCE_UID));
        let items: Vec<_> = root.items(tags::CONTENT_SEQUENCE).collect();
        let name = |at: usize| items[at].item(tags::CONCEPT_NAME_CODE_SEQUENCE).unwrap();
        assert_eq!(name(0).text(tags::CODE_MEANING).unwrap(), "Finding");
        assert_eq!(name(1).text(tags::CODE_MEANING).unwrap(), "REMOVED");
        assert_eq!(items[0].text(tags::TEXT_VALUE).unwrap(), "REMOVED");
        let of: Vec<_> =
            root.items(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE).filter_map(|c| c.text(tags::CODE_VALUE)).collect();
        assert_eq!(of, ["113100", "113104"]);
    });
}

#[test]
fn every_encoding_comes_out_as_it_went_in() {
    for syntax in ["1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"] {
        let big = crate::syntax::TransferSyntax::new(syntax).encoding() == Encoding::BIG;
        let file = object(DX, syntax, |out| {
            out.element(tags::ROWS, VR::US, &if big { [1, 2] } else { [2, 1] }, big);
            out.element(tags::PIXEL_DATA, VR::OW, &[1, 2, 3, 4], big);
        });
        let (before, done) = (scan(&file, &Limits::default()).unwrap(), cleaned(&file, Options::default()));
        let after = scan(&done.bytes, &Limits::default()).unwrap();
        assert_eq!(after.syntax().uid(), syntax);
        assert_eq!(after.attributes().u16(tags::ROWS), Some(0x102), "{syntax}");
        assert_eq!(after.attributes().bytes(tags::PIXEL_DATA), before.attributes().bytes(tags::PIXEL_DATA), "{syntax}");
        assert_eq!(done.bytes.len() % 2, 0);
    }
}

#[test]
fn pixels_that_may_name_the_patient_are_told_of_and_refused_where_asked() {
    let check = |class: &str, tag: Tag, text: &str, expected: &[Shown]| {
        let file = object(class, EXPLICIT, |out| out.text(tag, VR::CS, text));
        let done = deidentify(&file, &key(), &Options::default(), &Limits::default()).unwrap();
        assert_eq!(done.shows, expected, "{class} {text}");
        let strict = Options { refuses_burned_in: true, ..Options::default() };
        let refused = deidentify(&file, &key(), &strict, &Limits::default());
        assert_eq!(refused.is_err(), !expected.is_empty(), "{class} {text}");
    };
    let capture = "1.2.840.10008.5.1.4.1.1.7";
    check(DX, tags::BURNED_IN_ANNOTATION, "NO", &[]);
    check(DX, tags::BURNED_IN_ANNOTATION, "YES", &[Shown::Annotation]);
    check(capture, tags::BURNED_IN_ANNOTATION, "NO", &[]);
    check(capture, tags::MODALITY, "OT", &[Shown::Class("Secondary Capture")]);
    check("1.2.840.10008.5.1.4.1.1.6.1", tags::MODALITY, "US", &[Shown::Class("Ultrasound")]);
    check(DX, tags::CONVERSION_TYPE, "DF", &[Shown::Screen]);
    check(CT, tags::IMAGE_TYPE, "DERIVED\\SECONDARY\\SCREEN SAVE", &[Shown::Screen]);
    check(CT, tags::BODY_PART_EXAMINED, "HEAD", &[Shown::Head]);
    check(CT, tags::BODY_PART_EXAMINED, "CHEST", &[]);
    check(DX, tags::BODY_PART_EXAMINED, "SKULL", &[]);
    check(DX, tags::RECOGNIZABLE_VISUAL_FEATURES, "YES", &[Shown::Features]);
}

#[test]
fn what_cannot_be_judged_whole_is_refused() {
    let of = |file: &[u8]| deidentify(file, &key(), &Options::default(), &Limits::default()).unwrap_err();
    assert_eq!(of(&object("1.2.840.10008.1.3.10", EXPLICIT, |_| {})), DeidentifyError::Directory);
    assert_eq!(of(&object("1.2.840.10008.5.1.4.1.1.104.1", EXPLICIT, |_| {})), DeidentifyError::Document);
    assert_eq!(of(&object(DX, "1.2.3.4", |_| {})), DeidentifyError::Syntax);
    let twice = object(DX, EXPLICIT, |out| out.text(tags::PATIENT_ID, VR::LO, "other"));
    assert_eq!(of(&twice), DeidentifyError::Twice(tags::PATIENT_ID));
    let without = file_header(DX, "1.2", EXPLICIT);
    assert!(matches!(of(&without), DeidentifyError::Scan(_)));
    let named = object(SECRET, EXPLICIT, |_| {});
    assert_eq!(of(&named).to_string(), "SOP Class UID is no UID");
}
