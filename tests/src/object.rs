//! DICOM objects byte by byte, so that they can hold what no tool would write: explicit little endian, PS3.5 section 7.1.2.

use std::collections::BTreeMap;

/// Explicit VR Little Endian.
pub const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// DX For Presentation (PS3.3 section A.26).
pub const DX: &str = "1.2.840.10008.5.1.4.1.1.1.1";
/// CT (PS3.3 section A.3).
pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// Group and element.
pub type Tag = (u16, u16);

/// An object in the making. Elements that are put again are replaced.
#[derive(Debug, Clone, Default)]
pub struct Object {
    elements: BTreeMap<Tag, ([u8; 2], Vec<u8>)>,
    transfer_syntax: String,
}

impl Object {
    /// An image of `class` without patient: 64 rows and columns, 16 bits, `slice` mm up. Its study, series and instance are
    /// named after `uid`.
    pub fn image(class: &str, study: &str, uid: &str, slice: u16) -> Self {
        let mut object = Self { transfer_syntax: EXPLICIT_LITTLE_ENDIAN.to_owned(), ..Self::default() };
        let is_ct = class == CT;
        for (tag, vr, value) in [
            ((0x8, 0x8), "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
            ((0x8, 0x16), "UI", class),
            ((0x8, 0x18), "UI", uid),
            ((0x8, 0x60), "CS", if is_ct { "CT" } else { "DX" }),
            ((0x8, 0x68), "CS", "FOR PRESENTATION"),
            ((0x18, 0x15), "CS", "CHEST"),
            ((0x18, 0x5101), "CS", "PA"),
            ((0x20, 0xd), "UI", study),
            ((0x20, 0xe), "UI", &format!("{study}.1")),
            ((0x20, 0x11), "IS", "1"),
            ((0x20, 0x13), "IS", &slice.to_string()),
            ((0x28, 0x4), "CS", "MONOCHROME2"),
        ] {
            object.text(tag, vr, value);
        }
        if is_ct {
            object.text((0x20, 0x32), "DS", &format!("-100\\-100\\{slice}"));
            object.text((0x20, 0x37), "DS", "1\\0\\0\\0\\1\\0");
            object.text((0x20, 0x52), "UI", &format!("{study}.9"));
            object.text((0x28, 0x30), "DS", "3\\3");
            object.text((0x28, 0x1052), "DS", "-1024");
            object.text((0x28, 0x1053), "DS", "1");
        }
        for (element, number) in [(2, 1), (0x10, 64), (0x11, 64), (0x100, 16), (0x101, 12), (0x102, 11), (0x103, 0)] {
            object.number((0x28, element), number);
        }
        let grey = |at: u16| at.wrapping_mul(31).wrapping_add(slice * 7) % 4_096;
        object.put((0x7fe0, 0x10), *b"OW", (0..64 * 64).flat_map(|at: u16| grey(at).to_le_bytes()).collect());
        object
    }

    /// Puts a text.
    ///
    /// # Panics
    /// Where `vr` is not two letters.
    pub fn text(&mut self, tag: Tag, vr: &str, text: &str) -> &mut Self {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.put(tag, vr.as_bytes().try_into().expect("two letters"), value)
    }

    /// Puts a number of 16 bits.
    pub fn number(&mut self, tag: Tag, number: u16) -> &mut Self {
        self.put(tag, *b"US", number.to_le_bytes().to_vec())
    }

    /// Puts a sequence of one item that holds one text.
    pub fn item(&mut self, tag: Tag, inner: Tag, vr: &str, text: &str) -> &mut Self {
        let mut item = Self::default();
        item.text(inner, vr, text);
        let inner = item.dataset();
        let head = [&[0xfe, 0xff, 0, 0xe0], &(inner.len() as u32).to_le_bytes()[..]].concat();
        self.put(tag, *b"SQ", [head, inner].concat())
    }

    /// Puts bytes as they are.
    pub fn put(&mut self, tag: Tag, vr: [u8; 2], value: Vec<u8>) -> &mut Self {
        self.elements.insert(tag, (vr, value));
        self
    }

    /// Puts one codestream in encapsulated form (PS3.5 annex A.4) for the transfer syntax.
    pub fn codestream(&mut self, transfer_syntax: &str, stream: &[u8]) -> &mut Self {
        self.transfer_syntax = transfer_syntax.to_owned();
        let item = |bytes: &[u8]| [&[0xfe, 0xff, 0, 0xe0], &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        let end = [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0];
        self.put((0x7fe0, 0x10), *b"OB", [item(&[]), item(stream), end.to_vec()].concat())
    }

    /// The transfer syntax that the file meta information names, whatever the bytes are in.
    pub fn said_to_be_in(&mut self, transfer_syntax: &str) -> &mut Self {
        self.transfer_syntax = transfer_syntax.to_owned();
        self
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let mut meta = Self::default();
        let value = |tag: Tag| self.elements.get(&tag).map(|(_, value)| value.clone()).unwrap_or_default();
        meta.put((2, 1), *b"OB", vec![0, 1]).put((2, 2), *b"UI", value((8, 0x16))).put(
            (2, 3),
            *b"UI",
            value((8, 0x18)),
        );
        meta.text((2, 0x10), "UI", &self.transfer_syntax).text((2, 0x12), "UI", "2.25.77.1");
        let meta = meta.dataset();
        let mut length = Self::default();
        length.put((2, 0), *b"UL", (meta.len() as u32).to_le_bytes().to_vec());
        [&[0; 128], &b"DICM"[..], &length.dataset(), &meta, &self.dataset()].concat()
    }

    fn dataset(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, (vr, value)) in &self.elements {
            bytes.extend(tag.0.to_le_bytes());
            bytes.extend(tag.1.to_le_bytes());
            bytes.extend(vr);
            let is_encapsulated = *tag == (0x7fe0, 0x10) && vr == b"OB";
            let length = if is_encapsulated { u32::MAX } else { value.len() as u32 };
            if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
                bytes.extend([0, 0]);
                bytes.extend(length.to_le_bytes());
            } else {
                bytes.extend((value.len() as u16).to_le_bytes());
            }
            bytes.extend(value);
        }
        bytes
    }
}

/// SOP Instance UID of a file, from its meta group.
///
/// # Panics
/// Where it has none.
pub fn instance_of(file: &[u8]) -> String {
    // (0002,0003) UI, in Explicit VR Little Endian.
    let at = file.windows(6).position(|bytes| bytes == b"\x02\x00\x03\x00UI").expect("a meta group");
    let length = usize::from(u16::from_le_bytes([file[at + 6], file[at + 7]]));
    let uid = &file[at + 8..at + 8 + length];
    String::from_utf8_lossy(uid).trim_end_matches('\0').to_owned()
}
