//! Command sets: Implicit VR Little Endian, group 0000 (PS3.7 section 6.3 and annex E).

/// Longest command set taken, in bytes. Real ones have some hundred.
pub(super) const MAX_COMMAND_BYTES: usize = 16 << 10;

/// Command Field (0000,0100) of requests that are served; a response has bit 15 set (PS3.7 annex E.1-1).
pub(super) mod field {
    /// C-STORE-RQ.
    pub(in super::super) const C_STORE: u16 = 0x0001;
    /// C-ECHO-RQ.
    pub(in super::super) const C_ECHO: u16 = 0x0030;
    /// C-CANCEL-RQ, which is not answered.
    pub(in super::super) const C_CANCEL: u16 = 0x0FFF;
    /// Set in every response.
    pub(in super::super) const RESPONSE: u16 = 0x8000;
}

/// Command Data Set Type (0000,0800) of a message without a data set.
const NO_DATA_SET: u16 = 0x0101;
/// Error Comment (0000,0902) is a Long String: at most so many characters (PS3.5 section 6.2).
const MAX_COMMENT: usize = 64;

/// Why bytes are no command set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    /// It ends in the middle of an element.
    #[error("a command set that ends within element ({0:04X},{1:04X})")]
    Cut(u16, u16),
    /// It holds an element of another group.
    #[error("a command set with element ({0:04X},{1:04X})")]
    Foreign(u16, u16),
    /// An element that every request has is missing, or has another length.
    #[error("a command set without {0}")]
    Missing(&'static str),
}

/// A request, as far as it is served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Command Field (0000,0100).
    pub(super) field: u16,
    /// Message ID (0000,0110).
    pub(super) message_id: u16,
    /// Whether a data set follows.
    pub(super) has_data_set: bool,
    /// Affected SOP Class UID (0000,0002).
    pub(super) sop_class: String,
    /// Affected SOP Instance UID (0000,1000).
    pub(super) sop_instance: String,
}

/// Reads a request.
pub(super) fn read(bytes: &[u8]) -> Result<Request, CommandError> {
    let (mut field, mut message_id, mut data_set_type) = (None, None, None);
    let (mut sop_class, mut sop_instance) = (String::new(), String::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let number = |at: usize| rest.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let (group, element) = (number(0).unwrap_or(0), number(2).unwrap_or(0));
        let cut = CommandError::Cut(group, element);
        let length = rest.get(4..8).ok_or_else(|| cut.clone())?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        if group != 0 {
            return Err(CommandError::Foreign(group, element));
        }
        let value = rest.get(8..).and_then(|after| after.get(..length)).ok_or(cut)?;
        let short = || value.get(..2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        match element {
            0x0002 => sop_class = uid(value),
            0x0100 => field = short(),
            0x0110 => message_id = short(),
            0x0800 => data_set_type = short(),
            0x1000 => sop_instance = uid(value),
            _ => {}
        }
        rest = &rest[8 + length..];
    }
    Ok(Request {
        field: field.ok_or(CommandError::Missing("Command Field (0000,0100)"))?,
        message_id: message_id.unwrap_or(0),
        has_data_set: data_set_type.ok_or(CommandError::Missing("Command Data Set Type (0000,0800)"))? != NO_DATA_SET,
        sop_class,
        sop_instance,
    })
}

/// A response to `request` with a status and, where it is not empty, an Error Comment.
pub(super) fn respond(request: &Request, status: u16, comment: &str) -> Vec<u8> {
    let mut elements = Vec::with_capacity(256);
    put_uid(&mut elements, 0x0002, &request.sop_class);
    put(&mut elements, 0x0100, &(request.field | field::RESPONSE).to_le_bytes());
    put(&mut elements, 0x0120, &request.message_id.to_le_bytes());
    put(&mut elements, 0x0800, &NO_DATA_SET.to_le_bytes());
    put(&mut elements, 0x0900, &status.to_le_bytes());
    if !comment.is_empty() {
        // The default repertoire is all that a command set has.
        let plain = comment.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() && c != '\\' { c } else { '?' });
        put_text(&mut elements, 0x0902, &plain.take(MAX_COMMENT).collect::<String>(), b' ');
    }
    put_uid(&mut elements, 0x1000, &request.sop_instance);
    let mut whole = Vec::with_capacity(elements.len() + 12);
    put(&mut whole, 0x0000, &(elements.len() as u32).to_le_bytes());
    whole.extend(elements);
    whole
}

fn uid(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned()
}

fn put_uid(to: &mut Vec<u8>, element: u16, uid: &str) {
    if !uid.is_empty() {
        put_text(to, element, uid, 0);
    }
}

fn put_text(to: &mut Vec<u8>, element: u16, text: &str, pad: u8) {
    let mut value = text.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(pad);
    }
    put(to, element, &value);
}

fn put(to: &mut Vec<u8>, element: u16, value: &[u8]) {
    to.extend([0, 0]);
    to.extend(element.to_le_bytes());
    to.extend((value.len() as u32).to_le_bytes());
    to.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Vec<u8> {
        let mut bytes = Vec::new();
        put_uid(&mut bytes, 0x0002, "1.2.840.10008.5.1.4.1.1.2");
        put(&mut bytes, 0x0100, &field::C_STORE.to_le_bytes());
        put(&mut bytes, 0x0110, &7_u16.to_le_bytes());
        put(&mut bytes, 0x0700, &0_u16.to_le_bytes());
        put(&mut bytes, 0x0800, &1_u16.to_le_bytes());
        put_uid(&mut bytes, 0x1000, "1.2.3");
        bytes
    }

    #[test]
    fn a_store_request_is_read() {
        let request = read(&store()).unwrap();
        assert_eq!(request.field, field::C_STORE);
        assert_eq!((request.message_id, request.has_data_set), (7, true));
        assert_eq!(request.sop_class, "1.2.840.10008.5.1.4.1.1.2");
        assert_eq!(request.sop_instance, "1.2.3");
    }

    #[test]
    fn a_response_is_a_command_set_of_even_lengths() {
        let request = read(&store()).unwrap();
        let bytes = respond(&request, 0xA700, "no room\n\\é");
        let response = read(&bytes).unwrap();
        assert_eq!(response.field, field::C_STORE | field::RESPONSE);
        assert!(!response.has_data_set);
        assert_eq!(u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize, bytes.len() - 12);
        let comment = bytes.windows(10).any(|window| window == b"no room???");
        assert!(comment && bytes.len().is_multiple_of(2));
    }

    #[test]
    fn broken_command_sets_are_named() {
        let whole = store();
        for cut in 1..whole.len() {
            // Whatever is left out, nothing but an error or a shorter request comes of it.
            let _ = read(&whole[..cut]);
        }
        assert_eq!(read(&whole[..40]), Err(CommandError::Cut(0, 0x0100)));
        assert_eq!(read(&[]), Err(CommandError::Missing("Command Field (0000,0100)")));
        assert_eq!(read(&[8, 0, 0x18, 0, 0, 0, 0, 0]), Err(CommandError::Foreign(8, 0x18)));
        assert_eq!(read(&[0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Err(CommandError::Cut(0, 2)));
    }
}
