//! Tiny chest films by the hundred: DX For Presentation (PS3.3 section A.26), explicit little endian, 32 × 32 pixels.

use prelim_tests::object::{DX, EXPLICIT_LITTLE_ENDIAN, Object};

/// Root of the UIDs; after it come the seed, the study, the series and the instance.
const ROOT: &str = "2.25.77";
/// Rows and columns.
const SIZE: u16 = 32;

/// A study to be sent.
#[derive(Debug, Clone)]
pub(crate) struct TinyStudy {
    /// Study Instance UID.
    pub(crate) uid: String,
    /// The objects, a view each.
    pub(crate) objects: Vec<Vec<u8>>,
}

impl TinyStudy {
    /// Study `number` of a run, with one to three views.
    pub(crate) fn new(run: u64, number: u32) -> Self {
        let uid = format!("{ROOT}.{run}.{number}");
        let views = 1 + number % 3;
        let objects = (0..views).map(|view| film(&uid, number, view)).collect();
        Self { uid, objects }
    }
}

fn film(study: &str, number: u32, view: u32) -> Vec<u8> {
    let instance = format!("{study}.1.{view}");
    let position = if view == 0 { "PA" } else { "LL" };
    let mut object = Object::default();
    object.said_to_be_in(EXPLICIT_LITTLE_ENDIAN);
    for (tag, vr, value) in [
        ((8, 0x8), "CS", "ORIGINAL\\PRIMARY"),
        ((8, 0x16), "UI", DX),
        ((8, 0x18), "UI", &instance),
        ((8, 0x20), "DA", "20260102"),
        ((8, 0x60), "CS", "DX"),
        ((8, 0x68), "CS", "FOR PRESENTATION"),
        ((0x10, 0x10), "PN", "TINY^FILM"),
        ((0x10, 0x20), "LO", &format!("TINY{number}")),
        ((0x18, 0x15), "CS", "CHEST"),
        ((0x18, 0x5101), "CS", position),
        ((0x20, 0xd), "UI", study),
        ((0x20, 0xe), "UI", &format!("{study}.1")),
        ((0x20, 0x11), "IS", "1"),
        ((0x20, 0x13), "IS", &(view + 1).to_string()),
        ((0x28, 4), "CS", "MONOCHROME2"),
    ] {
        object.text(tag, vr, value);
    }
    for (element, value) in [(2, 1), (0x10, SIZE), (0x11, SIZE), (0x100, 16), (0x101, 12), (0x102, 11), (0x103, 0)] {
        object.number((0x28, element), value);
    }
    // Each film has its own pixels, so that no two share their bytes.
    let pixels: Vec<u8> = (0..u32::from(SIZE) * u32::from(SIZE))
        .flat_map(|at| (((at * 31 + number * 7 + view) % 4_096) as u16).to_le_bytes())
        .collect();
    object.put((0x7fe0, 0x10), *b"OW", pixels);
    object.file()
}
