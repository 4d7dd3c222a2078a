//! Patients who are nobody: every attribute that PS3.15 table E.1-1 counts as identifying, each with a value that is
//! found again wherever it comes out.

use crate::object::{CT, DX, Object, Tag};
use crate::planted::Mark;

/// Attributes of table E.1-1 that are texts.
const TEXTS: &[(Tag, &str)] = &[
    ((0x8, 0x50), "SH"),    // Accession Number
    ((0x8, 0x80), "LO"),    // Institution Name
    ((0x8, 0x81), "ST"),    // Institution Address
    ((0x8, 0x90), "PN"),    // Referring Physician's Name
    ((0x8, 0x92), "ST"),    // Referring Physician's Address
    ((0x8, 0x94), "SH"),    // Referring Physician's Telephone Numbers
    ((0x8, 0x1010), "SH"),  // Station Name
    ((0x8, 0x1030), "LO"),  // Study Description
    ((0x8, 0x103e), "LO"),  // Series Description
    ((0x8, 0x1040), "LO"),  // Institutional Department Name
    ((0x8, 0x1048), "PN"),  // Physician(s) of Record
    ((0x8, 0x1050), "PN"),  // Performing Physician's Name
    ((0x8, 0x1060), "PN"),  // Name of Physician(s) Reading Study
    ((0x8, 0x1070), "PN"),  // Operators' Name
    ((0x8, 0x1080), "LO"),  // Admitting Diagnoses Description
    ((0x8, 0x2111), "ST"),  // Derivation Description
    ((0x10, 0x10), "PN"),   // Patient's Name
    ((0x10, 0x20), "LO"),   // Patient ID
    ((0x10, 0x21), "LO"),   // Issuer of Patient ID
    ((0x10, 0x1000), "LO"), // Other Patient IDs
    ((0x10, 0x1001), "PN"), // Other Patient Names
    ((0x10, 0x1005), "PN"), // Patient's Birth Name
    ((0x10, 0x1040), "LO"), // Patient's Address
    ((0x10, 0x1060), "PN"), // Patient's Mother's Birth Name
    ((0x10, 0x1090), "LO"), // Medical Record Locator
    ((0x10, 0x2154), "SH"), // Patient's Telephone Numbers
    ((0x10, 0x2180), "SH"), // Occupation
    ((0x10, 0x21b0), "LT"), // Additional Patient History
    ((0x10, 0x4000), "LT"), // Patient Comments
    ((0x18, 0x1000), "LO"), // Device Serial Number
    ((0x18, 0x1030), "LO"), // Protocol Name
    ((0x18, 0x1400), "LO"), // Acquisition Device Processing Description
    ((0x18, 0x4000), "LT"), // Acquisition Comments
    ((0x20, 0x10), "SH"),   // Study ID
    ((0x20, 0x4000), "LT"), // Image Comments
    ((0x32, 0x1032), "PN"), // Requesting Physician
    ((0x32, 0x1060), "LO"), // Requested Procedure Description
    ((0x32, 0x4000), "LT"), // Study Comments
    ((0x38, 0x500), "LO"),  // Patient State
    ((0x40, 0x254), "LO"),  // Performed Procedure Step Description
    ((0x9, 0x10), "LO"),    // A private block and what is in it
    ((0x9, 0x1001), "LT"),
    ((0x9, 0x1002), "UN"),
    ((0x4009, 0x10), "LO"),
    ((0x4009, 0x1001), "PN"),
];
/// Of them, those within sequences: Request Attributes, Referenced Patient Photo and Other Patient IDs.
const ITEMS: &[(Tag, Tag, &str)] =
    &[((0x40, 0x275), (0x40, 0x7), "LO"), ((0x10, 0x1002), (0x10, 0x20), "LO"), ((0x8, 0x1032), (0x8, 0x104), "LO")];

/// A patient.
#[derive(Debug, Clone)]
pub struct Patient {
    /// In every text.
    pub name: Mark,
    /// The dates of birth and of the study.
    pub dates: [Mark; 2],
    /// What the UIDs begin with.
    pub uid: Mark,
    studies: u32,
}

impl Default for Patient {
    fn default() -> Self {
        Self { name: Mark::letters(9), dates: [Mark::date(), Mark::date()], uid: Mark::uid(), studies: 0 }
    }
}

impl Patient {
    /// The value of attribute `number`: it begins with the mark, and no other attribute has the same. At most 16 characters.
    pub fn value(&self, number: usize) -> String {
        format!("{}{:02}", self.name.text, number)
    }

    /// A Study Instance UID that was not used.
    pub fn next_study(&mut self) -> String {
        self.studies += 1;
        format!("{}.{}", self.uid.text, self.studies)
    }

    /// Puts all that is known of the patient into an object.
    pub fn sign(&self, object: &mut Object) {
        for (number, (tag, vr)) in TEXTS.iter().enumerate() {
            let value = self.value(number);
            object.text(*tag, vr, &if *vr == "PN" { format!("{value}^{value}") } else { value });
        }
        for (number, (sequence, tag, vr)) in ITEMS.iter().enumerate() {
            object.item(*sequence, *tag, vr, &self.value(TEXTS.len() + number));
        }
        let [born, taken] = &self.dates;
        object.text((0x10, 0x30), "DA", &born.text).text((0x8, 0x20), "DA", &taken.text);
    }

    /// An image of the patient.
    pub fn image(&self, class: &str, study: &str, slice: u16) -> Object {
        let mut object = Object::image(class, study, &format!("{study}.1.{slice}"), slice);
        self.sign(&mut object);
        object
    }

    /// A chest film with so many views.
    pub fn film(&self, study: &str, views: u16) -> Vec<Vec<u8>> {
        (1..=views).map(|view| self.image(DX, study, view).file()).collect()
    }

    /// A CT of so many slices.
    pub fn volume(&self, study: &str, slices: u16) -> Vec<Vec<u8>> {
        (1..=slices).map(|slice| self.image(CT, study, slice).file()).collect()
    }

    /// Objects with the patient where no patient belongs, or cut and damaged where the patient is, each a study of its own.
    pub fn broken(&mut self) -> Vec<Vec<u8>> {
        let words = format!("{}^{}", self.value(90), self.value(91));
        let mut objects = Vec::new();
        let mut with = |change: &dyn Fn(&mut Object) -> &mut Object| {
            let study = self.next_study();
            let mut object = self.image(DX, &study, 1);
            change(&mut object);
            objects.push(object.file());
        };
        // Values that are none of their representation.
        let places: [(Tag, &str); 14] = [
            ((0x8, 0x5), "CS"),
            ((0x8, 0x8), "CS"),
            ((0x8, 0x16), "UI"),
            ((0x8, 0x18), "UI"),
            ((0x8, 0x60), "CS"),
            ((0x18, 0x15), "CS"),
            ((0x18, 0x5101), "CS"),
            ((0x20, 0xd), "UI"),
            ((0x20, 0xe), "UI"),
            ((0x20, 0x13), "IS"),
            ((0x20, 0x62), "CS"),
            ((0x28, 0x4), "CS"),
            ((0x28, 0x8), "IS"),
            ((0x28, 0x1050), "DS"),
        ];
        for (tag, vr) in places {
            with(&|object| object.text(tag, vr, &words));
        }
        with(&|object| object.put((0x28, 0x10), *b"US", words.clone().into_bytes()));
        with(&|object| object.item((0x54, 0x220), (0x8, 0x104), "LO", &words).text((0x18, 0x5101), "CS", ""));
        with(&|object| object.said_to_be_in(&words));
        // MR and a report: classes that are not read.
        with(&|object| object.text((0x8, 0x16), "UI", "1.2.840.10008.5.1.4.1.1.4").text((0x8, 0x60), "CS", "MR"));
        with(&|object| object.text((0x8, 0x16), "UI", "1.2.840.10008.5.1.4.1.1.88.22").text((0x8, 0x60), "CS", "SR"));
        // Pixels that are too few, and codestreams that are none or hold a comment.
        with(&|object| object.put((0x7fe0, 0x10), *b"OW", words.clone().into_bytes()));
        let comment = [&[0xff, 0xd8, 0xff, 0xfe, 0, words.len() as u8 + 2], words.as_bytes(), &[0xff, 0xd9]].concat();
        for syntax in ["4.50", "4.70", "4.80", "4.90", "4.110", "5"] {
            let syntax = format!("1.2.840.10008.1.2.{syntax}");
            with(&|object| object.codestream(&syntax, words.as_bytes()));
            with(&|object| object.codestream(&syntax, &comment));
        }
        // Said to be deflated; big endian; without a meaning.
        for syntax in ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"] {
            with(&|object| object.said_to_be_in(syntax));
        }
        // Cut in the middle of the name, and shortly after it; the name alone; a name where an element should be.
        let study = self.next_study();
        let whole = self.image(DX, &study, 1).file();
        let name = format!("{0}^{0}", self.value(16));
        let at = whole.windows(name.len()).position(|window| window == name.as_bytes()).expect("the name is in it");
        objects.push(whole[..at + 5].to_vec());
        objects.push(whole[..at + name.len() + 3].to_vec());
        objects.push(words.clone().into_bytes());
        objects.push([&whole[..at - 8], words.as_bytes(), &whole[at..]].concat());
        objects
    }
}
