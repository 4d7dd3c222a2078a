//! Tiny chest films by the hundred: DX For Presentation (PS3.3 section A.26), explicit little endian, 32 × 32 pixels.

/// Root of the UIDs; after it come the seed, the study, the series and the instance.
const ROOT: &str = "2.25.77";
const DX: &str = "1.2.840.10008.5.1.4.1.1.1.1";
const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
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
    let mut meta = Vec::new();
    put(&mut meta, (2, 1), b"OB", &[0, 1]);
    put_text(&mut meta, (2, 2), b"UI", DX);
    put_text(&mut meta, (2, 3), b"UI", &instance);
    put_text(&mut meta, (2, 0x10), b"UI", EXPLICIT_LITTLE_ENDIAN);
    put_text(&mut meta, (2, 0x12), b"UI", "2.25.77.1");
    let mut object = vec![0; 128];
    object.extend_from_slice(b"DICM");
    put(&mut object, (2, 0), b"UL", &(meta.len() as u32).to_le_bytes());
    object.extend(meta);

    let position = if view == 0 { "PA" } else { "LL" };
    put_text(&mut object, (8, 0x8), b"CS", "ORIGINAL\\PRIMARY");
    put_text(&mut object, (8, 0x16), b"UI", DX);
    put_text(&mut object, (8, 0x18), b"UI", &instance);
    put_text(&mut object, (8, 0x20), b"DA", "20260102");
    put_text(&mut object, (8, 0x60), b"CS", "DX");
    put_text(&mut object, (8, 0x68), b"CS", "FOR PRESENTATION");
    put_text(&mut object, (0x10, 0x10), b"PN", "TINY^FILM");
    put_text(&mut object, (0x10, 0x20), b"LO", &format!("TINY{number}"));
    put_text(&mut object, (0x18, 0x15), b"CS", "CHEST");
    put_text(&mut object, (0x18, 0x5101), b"CS", position);
    put_text(&mut object, (0x20, 0xd), b"UI", study);
    put_text(&mut object, (0x20, 0xe), b"UI", &format!("{study}.1"));
    put_text(&mut object, (0x20, 0x11), b"IS", "1");
    put_text(&mut object, (0x20, 0x13), b"IS", &(view + 1).to_string());
    put_number(&mut object, (0x28, 2), 1);
    put_text(&mut object, (0x28, 4), b"CS", "MONOCHROME2");
    put_number(&mut object, (0x28, 0x10), SIZE);
    put_number(&mut object, (0x28, 0x11), SIZE);
    put_number(&mut object, (0x28, 0x100), 16);
    put_number(&mut object, (0x28, 0x101), 12);
    put_number(&mut object, (0x28, 0x102), 11);
    put_number(&mut object, (0x28, 0x103), 0);
    // Each film has its own pixels, so that no two share their bytes.
    let pixels: Vec<u8> = (0..u32::from(SIZE) * u32::from(SIZE))
        .flat_map(|at| (((at * 31 + number * 7 + view) % 4_096) as u16).to_le_bytes())
        .collect();
    put(&mut object, (0x7fe0, 0x10), b"OW", &pixels);
    object
}

/// One element (PS3.5 section 7.1.2).
fn put(to: &mut Vec<u8>, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) {
    to.extend(tag.0.to_le_bytes());
    to.extend(tag.1.to_le_bytes());
    to.extend(vr);
    match vr {
        b"OB" | b"OW" => {
            to.extend([0, 0]);
            to.extend((value.len() as u32).to_le_bytes());
        }
        _ => to.extend((value.len() as u16).to_le_bytes()),
    }
    to.extend(value);
}

fn put_text(to: &mut Vec<u8>, tag: (u16, u16), vr: &[u8; 2], text: &str) {
    let mut value = text.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(if vr == b"UI" { 0 } else { b' ' });
    }
    put(to, tag, vr, &value);
}

fn put_number(to: &mut Vec<u8>, tag: (u16, u16), number: u16) {
    put(to, tag, b"US", &number.to_le_bytes());
}
