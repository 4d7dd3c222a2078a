//! A data set of the network as a file, and back: preamble, prefix and meta group before it (PS3.10 section 7.1).

use dicom_object::FileMetaTable;

/// Our Implementation Class UID, the same as in objects that we write.
pub(super) const IMPLEMENTATION_CLASS: &str = crate::report::IMPLEMENTATION_CLASS_UID;
/// Our Implementation Version Name.
pub(super) const IMPLEMENTATION_VERSION: &str =
    concat!("PRELIM_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"));

/// What the meta group says. Not who sent the object: from whomever it comes, the same object is the same file, by which
/// duplicates are known. Who sent it is in its study's record.
pub(crate) struct Meta<'a> {
    pub(crate) sop_class: &'a str,
    pub(crate) sop_instance: &'a str,
    pub(crate) transfer_syntax: &'a str,
}

impl Meta<'_> {
    /// The bytes before the data set: 128 of nothing, `DICM`, and the meta group in Explicit VR Little Endian.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut group = Vec::with_capacity(512);
        // File Meta Information Version: its value representation has a long length.
        group.extend([0x02, 0, 0x01, 0, b'O', b'B', 0, 0, 2, 0, 0, 0, 0, 1]);
        put(&mut group, 0x0002, b"UI", self.sop_class);
        put(&mut group, 0x0003, b"UI", self.sop_instance);
        put(&mut group, 0x0010, b"UI", self.transfer_syntax);
        put(&mut group, 0x0012, b"UI", IMPLEMENTATION_CLASS);
        put(&mut group, 0x0013, b"SH", IMPLEMENTATION_VERSION);
        let mut whole = vec![0; 128];
        whole.extend(b"DICM");
        whole.extend([0x02, 0, 0, 0, b'U', b'L', 4, 0]);
        whole.extend((group.len() as u32).to_le_bytes());
        whole.extend(group);
        whole
    }
}

/// Bytes before the meta group: the preamble and `DICM`.
const PREAMBLE: usize = 132;
/// Bytes of the meta group's own length, which it does not count.
const GROUP_LENGTH: usize = 12;

/// A file taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Media Storage SOP Class UID.
    pub sop_class: String,
    /// Media Storage SOP Instance UID.
    pub sop_instance: String,
    /// Transfer Syntax UID.
    pub transfer_syntax: String,
    /// What follows the meta group.
    pub data_set: &'a [u8],
}

/// Takes a file of ours apart.
///
/// # Errors
/// A sentence: it is no DICOM file.
pub fn split(file: &[u8]) -> Result<Parts<'_>, String> {
    let cut = || "a file that is none of DICOM's".to_owned();
    let meta = file.get(128..).ok_or_else(cut)?;
    let table = FileMetaTable::from_reader(meta).map_err(|error| format!("{}: {error}", cut()))?;
    let length = file.get(PREAMBLE + 8..PREAMBLE + GROUP_LENGTH).ok_or_else(cut)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let data_set = file.get(PREAMBLE + GROUP_LENGTH + length..).ok_or_else(cut)?;
    Ok(Parts {
        sop_class: table.media_storage_sop_class_uid().to_owned(),
        sop_instance: table.media_storage_sop_instance_uid().to_owned(),
        transfer_syntax: table.transfer_syntax().to_owned(),
        data_set,
    })
}

fn put(to: &mut Vec<u8>, element: u16, vr: &[u8; 2], text: &str) {
    let mut value = text.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    to.extend([0x02, 0]);
    to.extend(element.to_le_bytes());
    to.extend(vr);
    // All of these are short: the network's own fields hold no more.
    to.extend((value.len() as u16).to_le_bytes());
    to.extend(value);
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;

    #[test]
    fn the_file_is_read_by_others() {
        let meta = Meta {
            sop_class: "1.2.840.10008.5.1.4.1.1.2",
            sop_instance: "1.2.3.4",
            transfer_syntax: "1.2.840.10008.1.2.1",
        };
        let mut file = meta.header();
        file.extend([0x08, 0, 0x60, 0, b'C', b'S', 2, 0, b'C', b'T']);
        let parts = split(&file).unwrap();
        assert_eq!((&*parts.sop_class, &*parts.sop_instance), ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"));
        assert_eq!((&*parts.transfer_syntax, parts.data_set.len()), ("1.2.840.10008.1.2.1", 10));
        assert!(split(&file[..140]).is_err() && split(b"no").is_err());
        let object = dicom_object::from_reader(&file[..]).unwrap();
        assert_eq!(object.meta().media_storage_sop_instance_uid(), "1.2.3.4");
        assert_eq!(object.meta().source_application_entity_title, None);
        assert_eq!(object.element(tags::MODALITY).unwrap().to_str().unwrap(), "CT");
    }
}
