//! Storage commitment (PS3.4 annex J): what its messages say, in both roles (pure).

use dicom_core::smallvec::smallvec;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use prelim_imaging::Limits;
use prelim_imaging::dataset::Attributes;
use prelim_imaging::scan::scan;
use prelim_proto::ids::Uid;

use super::part10::Meta;

/// The one instance of the Storage Commitment Push Model (PS3.4 section J.3.5).
pub(crate) const WELL_KNOWN: &str = "1.2.840.10008.1.20.1.1";
/// Action Type ID of a request (PS3.4 table J.3-1).
pub(crate) const REQUEST: u16 = 1;
/// Event Type ID of a report that all are held, and of one that some are not (PS3.4 section J.3.3).
pub(crate) const ALL_HELD: u16 = 1;
/// See [`ALL_HELD`].
pub(crate) const SOME_NOT_HELD: u16 = 2;
/// Failure reason: no such object instance.
pub(crate) const NO_SUCH_INSTANCE: u16 = 0x0112;
/// Failure reason: class and instance do not go together.
pub(crate) const CLASS_CONFLICT: u16 = 0x0119;
/// References in one message, at most.
const MAX_REFERENCES: usize = 20_000;

/// An instance that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) sop_class: String,
    pub(crate) sop_instance: String,
}

/// A request or a report: a transaction, and what it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Transaction UID (0008,1195).
    pub(crate) uid: String,
    /// Those asked for, or held (0008,1199).
    pub(crate) references: Vec<Reference>,
    /// Those not held, with the reason (0008,1198), in a report.
    pub(crate) failed: Vec<(Reference, u16)>,
}

impl Transaction {
    /// Reads the data set of a message.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) fn read(data_set: &[u8], transfer_syntax: &str) -> Result<Self, String> {
        let meta = Meta { sop_class: super::COMMITMENT, sop_instance: WELL_KNOWN, transfer_syntax };
        let mut file = meta.header();
        file.extend_from_slice(data_set);
        let scanned = scan(&file, &Limits::default()).map_err(|error| error.to_string())?;
        let attributes = scanned.attributes();
        let uid = attributes.text(tags::TRANSACTION_UID).unwrap_or_default();
        if Uid::parse(&uid).is_err() {
            return Err("no Transaction UID (0008,1195)".to_owned());
        }
        let (held, failed) =
            (attributes.items(tags::REFERENCED_SOP_SEQUENCE), attributes.items(tags::FAILED_SOP_SEQUENCE));
        if held.len() + failed.len() > MAX_REFERENCES {
            return Err(format!("more than {MAX_REFERENCES} references"));
        }
        let failed = failed.map(|item| {
            let reason = item.u16(tags::FAILURE_REASON).unwrap_or(0x0110);
            (reference(&item), reason)
        });
        Ok(Self { uid, references: held.map(|item| reference(&item)).collect(), failed: failed.collect() })
    }

    /// The data set of a message.
    ///
    /// # Errors
    /// A sentence: the transfer syntax is none that data sets are written in.
    pub(crate) fn write(&self, transfer_syntax: &str) -> Result<Vec<u8>, String> {
        let mut object = InMemDicomObject::new_empty();
        object.put(text(tags::TRANSACTION_UID, &self.uid));
        let held: Vec<_> = self.references.iter().map(|reference| item(reference, None)).collect();
        let failed: Vec<_> = self.failed.iter().map(|(reference, why)| item(reference, Some(*why))).collect();
        for (tag, items) in [(tags::REFERENCED_SOP_SEQUENCE, held), (tags::FAILED_SOP_SEQUENCE, failed)] {
            if !items.is_empty() {
                object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
            }
        }
        let syntax = TransferSyntaxRegistry
            .get(transfer_syntax)
            .ok_or_else(|| format!("no transfer syntax {transfer_syntax}"))?;
        let mut bytes = Vec::new();
        object.write_dataset_with_ts(&mut bytes, syntax).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

fn reference(item: &Attributes<'_>) -> Reference {
    let text = |tag: Tag| item.text(tag).unwrap_or_default();
    Reference { sop_class: text(tags::REFERENCED_SOP_CLASS_UID), sop_instance: text(tags::REFERENCED_SOP_INSTANCE_UID) }
}

fn item(reference: &Reference, reason: Option<u16>) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    item.put(text(tags::REFERENCED_SOP_CLASS_UID, &reference.sop_class));
    item.put(text(tags::REFERENCED_SOP_INSTANCE_UID, &reference.sop_instance));
    if let Some(reason) = reason {
        item.put(DataElement::new(tags::FAILURE_REASON, VR::US, PrimitiveValue::U16(smallvec![reason])));
    }
    item
}

fn text(tag: Tag, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::UI, PrimitiveValue::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_read_as_it_was_written() {
        let reference =
            |n: u32| Reference { sop_class: "1.2.840.10008.5.1.4.1.1.2".to_owned(), sop_instance: format!("1.2.{n}") };
        let whole = Transaction {
            uid: "2.25.7".to_owned(),
            references: vec![reference(1), reference(2)],
            failed: vec![(reference(3), NO_SUCH_INSTANCE)],
        };
        for syntax in ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"] {
            let bytes = whole.write(syntax).unwrap();
            assert_eq!(Transaction::read(&bytes, syntax).unwrap(), whole);
        }
        let nameless = Transaction { uid: String::new(), ..whole }.write("1.2.840.10008.1.2").unwrap();
        assert!(Transaction::read(&nameless, "1.2.840.10008.1.2").unwrap_err().contains("Transaction UID"));
        assert!(Transaction::read(&[], "1.2.840.10008.1.2").is_err());
        assert!(Transaction::read(&[8, 0, 0x95, 0x11, 0xFF, 0xFF, 0xFF, 0x7F], "1.2.840.10008.1.2").is_err());
    }
}
