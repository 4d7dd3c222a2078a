//! A data set with the table applied to it.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::table::{Otherwise, Step, step};
use super::value::{dummy, moved};
use super::write::Out;
use super::{DeidentifyError, Key, METHODS, Options};
use crate::dataset::{Attributes, Element, Value};
use crate::syntax::Encoding;

/// How an object says by what it was de-identified (0012,0063).
const METHOD: &str = "PS3.15 Annex E Basic Profile by prelim";
/// Coding schemes that anybody may look up: their codes name no person (PS3.16 section 8). Private ones begin with 99.
const PUBLIC_SCHEMES: &[&str] = &[
    "ACR",
    "BARI",
    "BI",
    "CADSR",
    "CD8",
    "CPT4",
    "CVX",
    "DCM",
    "FMA",
    "I10",
    "I10P",
    "I9C",
    "IBSI",
    "ICDO3",
    "ISO3166_1",
    "ISO639_1",
    "ISO639_2",
    "LN",
    "MDC",
    "MSH",
    "NCIT",
    "NCIt",
    "NDC",
    "NEU",
    "NICIP",
    "RADLEX",
    "RFC3066",
    "RFC5646",
    "RXNORM",
    "SCT",
    "SNM3",
    "SRT",
    "UCUM",
    "UMLS",
    "UNS",
];
/// What a coded entry consists of (PS3.3 section 8).
const OF_CODES: &[Tag] = &[
    tags::CODE_VALUE,
    tags::LONG_CODE_VALUE,
    tags::URN_CODE_VALUE,
    tags::CODING_SCHEME_DESIGNATOR,
    tags::CODING_SCHEME_VERSION,
    tags::CODE_MEANING,
];

/// What of texts is kept where the table is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// All: the profile counts them as harmless.
    Kept,
    /// Those of public codes: in structured content and in graphics.
    OfPublicCodes,
    /// None.
    None,
}

/// An element of ours, and how it is written.
type Mark = (Tag, Box<dyn FnOnce(&mut Out)>);

/// What is known of the object whose data set is cleaned.
pub(super) struct Cleaner<'a> {
    key: &'a Key,
    options: &'a Options,
    /// The patient's pseudonym; empty where there is no Patient ID.
    pseudonym: String,
    shift_days: u32,
}

impl<'a> Cleaner<'a> {
    /// For an object of `patient`, by whom dates are moved together, with the given Patient ID.
    pub(super) fn new(key: &'a Key, options: &'a Options, patient: &str, patient_id: &str) -> Self {
        Self { key, options, pseudonym: key.patient(patient_id), shift_days: key.shift_days(patient) }
    }

    /// The whole data set, written in `encoding`.
    pub(super) fn data_set(&self, root: &Attributes<'_>, encoding: Encoding) -> Result<Vec<u8>, DeidentifyError> {
        let mut elements: Vec<&Element> = root.elements().iter().collect();
        // Whatever the order was: what is added has its place, and of two of one tag readers take different ones.
        elements.sort_by_key(|element| element.tag);
        if let Some(pair) = elements.windows(2).find(|pair| pair[0].tag == pair[1].tag) {
            return Err(DeidentifyError::Twice(pair[0].tag));
        }
        let mut out = Out::new(encoding, 1 << 16);
        let mut marks = self.marks(root);
        for element in elements {
            while let Some((_, mark)) = marks.pop_if(|(tag, _)| *tag < element.tag) {
                mark(&mut out);
            }
            self.element(root, element, Texts::Kept, &mut out);
        }
        while let Some((_, mark)) = marks.pop() {
            mark(&mut out);
        }
        Ok(out.into_bytes())
    }

    /// What says that the object is de-identified, and how (PS3.15 section E.1.1 item 6); the last comes first.
    fn marks(&self, root: &Attributes<'_>) -> Vec<Mark> {
        let holds = [
            true,
            root.has(tags::GRAPHIC_ANNOTATION_SEQUENCE),
            root.has(tags::CONTENT_SEQUENCE),
            self.options.keeps_dates,
            self.options.keeps_characteristics,
        ];
        let codes: Vec<_> = METHODS.iter().zip(holds).filter(|(_, holds)| *holds).map(|(code, _)| *code).collect();
        let times = if self.options.keeps_dates { "MODIFIED" } else { "REMOVED" };
        let code = |out: &mut Out, (value, meaning): (&str, &str)| {
            out.text(tags::CODE_VALUE, VR::SH, value);
            out.text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM");
            out.text(tags::CODE_MEANING, VR::LO, meaning);
        };
        vec![
            (
                tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
                Box::new(move |out| out.text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, times)),
            ),
            (
                tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
                Box::new(move |out| out.sequence(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, codes, code)),
            ),
            (tags::DEIDENTIFICATION_METHOD, Box::new(|out| out.text(tags::DEIDENTIFICATION_METHOD, VR::LO, METHOD))),
            (tags::PATIENT_IDENTITY_REMOVED, Box::new(|out| out.text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"))),
        ]
    }

    /// The elements of an item. Of two with one tag the first is written, which is the one that is read here. A code of a
    /// scheme of one's own may mean anything, and its scheme name the institution: all of it goes.
    fn item(&self, item: &Attributes<'_>, texts: Texts, out: &mut Out) {
        let is_public =
            item.text(tags::CODING_SCHEME_DESIGNATOR).is_some_and(|scheme| PUBLIC_SCHEMES.contains(&scheme.as_str()));
        let mut elements: Vec<&Element> = item.elements().iter().collect();
        elements.sort_by_key(|element| element.tag);
        elements.dedup_by_key(|element| element.tag);
        for element in elements {
            let texts = match OF_CODES.contains(&element.tag) {
                true if is_public && texts != Texts::None => Texts::Kept,
                true => Texts::None,
                false => texts,
            };
            self.element(item, element, texts, out);
        }
    }

    fn element(&self, within: &Attributes<'_>, element: &Element, texts: Texts, out: &mut Out) {
        let tag = element.tag;
        // What PS3.6 does not have cannot be judged. The representation is that of PS3.6, whatever the object says.
        let Some(vr) = StandardDataDictionary.by_tag(tag).map(|entry| entry.vr().relaxed()) else { return };
        let step = step(tag, vr, self.options.keeps_characteristics);
        match &element.value {
            Value::Items(_) if vr == VR::SQ => self.sequence(within, element, step, texts, out),
            // A value where items should be, and items where a value should be.
            Value::Bytes(_) if vr == VR::SQ && step != Step::Remove => out.sequence(tag, [(); 0], |_, ()| {}),
            Value::Bytes(_) if vr == VR::SQ => {}
            Value::Items(_) => {}
            Value::Fragments(_) if tag != tags::PIXEL_DATA || step != Step::Keep => {}
            Value::Fragments(ranges) => {
                let fragments = ranges.iter().map(|range| within.range(range));
                out.fragments(tag, element.vr, fragments);
            }
            Value::Bytes(_) => self.value(within, element, vr, step, texts, out),
        }
    }

    fn sequence(&self, within: &Attributes<'_>, element: &Element, step: Step, texts: Texts, out: &mut Out) {
        let texts = match step {
            Step::Keep => texts,
            Step::Replace if texts == Texts::None => Texts::None,
            Step::Replace => match element.tag {
                tags::CONTENT_SEQUENCE | tags::GRAPHIC_ANNOTATION_SEQUENCE => Texts::OfPublicCodes,
                _ => Texts::None,
            },
            Step::Empty => return out.sequence(element.tag, [(); 0], |_, ()| {}),
            _ => return,
        };
        out.sequence(element.tag, within.items_of(element), |out, item| self.item(&item, texts, out));
    }

    fn value(&self, within: &Attributes<'_>, element: &Element, vr: VR, step: Step, texts: Texts, out: &mut Out) {
        let (tag, value) = (element.tag, within.value(element));
        let is_empty = value.iter().all(|byte| matches!(byte, 0 | b' '));
        let write = |value: &[u8], out: &mut Out| out.element(tag, vr, value, element.big_endian);
        let replaced = || if is_empty { Vec::new() } else { dummy(vr) };
        match step {
            Step::Remove => {}
            Step::Empty => write(&[], out),
            Step::Replace => write(&replaced(), out),
            Step::Map => write(self.uids(value).as_bytes(), out),
            Step::Pseudonym => write(self.pseudonym(within, element).as_bytes(), out),
            Step::Moment(otherwise) => {
                let shifted = || moved(vr, value, self.shift_days);
                match (otherwise, self.options.keeps_dates.then(shifted).flatten()) {
                    (_, Some(moved)) => write(&moved, out),
                    (Otherwise::Remove, None) => {}
                    (Otherwise::Empty, None) => write(&[], out),
                    (Otherwise::Replace, None) => write(&replaced(), out),
                }
            }
            Step::Keep if texts != Texts::Kept && holds_text(vr) => write(&replaced(), out),
            // A number that is written as a text is none, and neither is a text where a number or a word should be.
            Step::Keep if is_binary(vr) != is_binary(element.vr) && element.vr != VR::UN => {}
            Step::Keep if !is_in_form(vr, value) => write(&[], out),
            Step::Keep if is_binary(vr) => out.element(tag, element.vr, value, element.big_endian),
            Step::Keep => write(value, out),
        }
    }

    fn uids(&self, value: &[u8]) -> String {
        let text: String = value.iter().map(|&byte| char::from(byte)).collect();
        text.split('\\').map(|uid| self.key.uid(uid)).collect::<Vec<_>>().join("\\")
    }

    fn pseudonym(&self, within: &Attributes<'_>, element: &Element) -> String {
        let text = within.text_of(element);
        match element.tag {
            tags::PATIENT_ID => self.key.patient(&text),
            tags::ACCESSION_NUMBER => self.key.accession(&text),
            _ if text.is_empty() => String::new(),
            _ => self.pseudonym.clone(),
        }
    }
}

/// Whether a value can hold words of anybody's choice, or bytes of which nobody knows what they are.
fn holds_text(vr: VR) -> bool {
    use VR::*;
    matches!(vr, AE | AS | LO | LT | OB | PN | SH | ST | UC | UN | UR | UT)
}

fn is_binary(vr: VR) -> bool {
    use VR::*;
    matches!(vr, AT | FD | FL | OB | OD | OF | OL | OV | OW | SL | SS | SV | UL | UN | US | UV)
}

/// Whether a value that is kept is written in characters of its representation (PS3.5 section 6.2), as far as it could name
/// somebody if it were not.
fn is_in_form(vr: VR, value: &[u8]) -> bool {
    let allowed: &[u8] = match vr {
        VR::DS | VR::IS => b"+-.eE\\ \0",
        VR::UI => b".\\ \0",
        VR::CS => b"_-./\\ \0",
        VR::AS => b"DWMY\\ \0",
        _ => return true,
    };
    let has_letters = vr == VR::CS;
    value
        .iter()
        .all(|byte| byte.is_ascii_digit() || has_letters && byte.is_ascii_alphabetic() || allowed.contains(byte))
}
