//! Command sets: Implicit VR Little Endian, group 0000 (PS3.7 section 6.3 and annex E).

/// Longest command set taken, in bytes. Real ones have some hundred.
pub(super) const MAX_COMMAND_BYTES: usize = 16 << 10;

/// Command Field (0000,0100) of requests that are served or made; a response has bit 15 set (PS3.7 annex E.1-1).
pub(super) mod field {
    /// C-STORE-RQ.
    pub(in super::super) const C_STORE: u16 = 0x0001;
    /// C-GET-RQ.
    pub(in super::super) const C_GET: u16 = 0x0010;
    /// C-FIND-RQ.
    pub(in super::super) const C_FIND: u16 = 0x0020;
    /// C-MOVE-RQ.
    pub(in super::super) const C_MOVE: u16 = 0x0021;
    /// C-ECHO-RQ.
    pub(in super::super) const C_ECHO: u16 = 0x0030;
    /// N-EVENT-REPORT-RQ.
    pub(in super::super) const N_EVENT_REPORT: u16 = 0x0100;
    /// N-SET-RQ.
    pub(in super::super) const N_SET: u16 = 0x0120;
    /// N-ACTION-RQ.
    pub(in super::super) const N_ACTION: u16 = 0x0130;
    /// N-CREATE-RQ.
    pub(in super::super) const N_CREATE: u16 = 0x0140;
    /// C-CANCEL-RQ, which is not answered.
    pub(in super::super) const C_CANCEL: u16 = 0x0FFF;
    /// Set in every response.
    pub(in super::super) const RESPONSE: u16 = 0x8000;
}

/// Command Data Set Type (0000,0800) of a message without a data set.
const NO_DATA_SET: u16 = 0x0101;
/// The same of a message with one: any other value says so.
const WITH_DATA_SET: u16 = 0x0000;
/// Error Comment (0000,0902) is a Long String: at most so many characters (PS3.5 section 6.2).
const MAX_COMMENT: usize = 64;

/// Why bytes are no command set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// It ends in the middle of an element.
    #[error("a command set that ends within element ({0:04X},{1:04X})")]
    Cut(u16, u16),
    /// An element that every command has is missing, or has another length.
    #[error("a command set without {0}")]
    Missing(&'static str),
}

/// A command set, as far as it is used here. What a command has not is empty, or `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Command Field (0000,0100).
    pub(super) field: u16,
    /// Message ID (0000,0110), of a request.
    pub(super) message_id: Option<u16>,
    /// Message ID Being Responded To (0000,0120), of a response.
    pub(super) responds_to: Option<u16>,
    /// Whether a data set follows.
    pub(super) has_data_set: bool,
    /// Affected SOP Class UID (0000,0002), or Requested SOP Class UID (0000,0003) where `is_requested`.
    pub(super) sop_class: String,
    /// Affected SOP Instance UID (0000,1000), or Requested SOP Instance UID (0000,1001) where `is_requested`.
    pub(super) sop_instance: String,
    /// Whether class and instance are those requested, as in an N-ACTION.
    pub(super) is_requested: bool,
    /// Priority (0000,0700).
    pub(super) priority: Option<u16>,
    /// Move Destination (0000,0600).
    pub(super) destination: String,
    /// Status (0000,0900), of a response.
    pub(super) status: Option<u16>,
    /// Error ID (0000,0903), of a response.
    pub(super) error_id: Option<u16>,
    /// Error Comment (0000,0902).
    pub(super) comment: String,
    /// Event Type ID (0000,1002).
    pub(super) event_type: Option<u16>,
    /// Action Type ID (0000,1008).
    pub(super) action_type: Option<u16>,
    /// Remaining, Completed, Failed and Warning Suboperations (0000,1020) to (0000,1023).
    pub(super) suboperations: [Option<u16>; 4],
}

impl Command {
    /// Reads a command set.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut command = Self::default();
        let (mut field, mut data_set_type) = (None, None);
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = |at: usize| rest.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
            let (group, element) = (number(0).unwrap_or(0), number(2).unwrap_or(0));
            let cut = CommandError::Cut(group, element);
            let length = rest.get(4..8).ok_or_else(|| cut.clone())?;
            let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
            let value = rest.get(8..).and_then(|after| after.get(..length)).ok_or(cut)?;
            let short = || value.get(..2).map(|two| u16::from_le_bytes([two[0], two[1]]));
            match element {
                // DCMTK, and Orthanc with it, put what should be a data set here: the instances that a C-GET failed on.
                _ if group != 0 => {}
                0x0002 | 0x0003 => {
                    command.sop_class = text(value);
                    command.is_requested |= element == 0x0003;
                }
                0x0100 => field = short(),
                0x0110 => command.message_id = short(),
                0x0120 => command.responds_to = short(),
                0x0600 => command.destination = text(value),
                0x0700 => command.priority = short(),
                0x0800 => data_set_type = short(),
                0x0900 => command.status = short(),
                0x0902 => command.comment = text(value),
                0x0903 => command.error_id = short(),
                0x1000 | 0x1001 => command.sop_instance = text(value),
                0x1002 => command.event_type = short(),
                0x1008 => command.action_type = short(),
                0x1020..=0x1023 => command.suboperations[usize::from(element - 0x1020)] = short(),
                _ => {}
            }
            rest = &rest[8 + length..];
        }
        command.field = field.ok_or(CommandError::Missing("Command Field (0000,0100)"))?;
        let data_set_type = data_set_type.ok_or(CommandError::Missing("Command Data Set Type (0000,0800)"))?;
        command.has_data_set = data_set_type != NO_DATA_SET;
        Ok(command)
    }

    /// The command set as bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut elements = Vec::with_capacity(256);
        let requested = u16::from(self.is_requested);
        put_uid(&mut elements, 0x0002 + requested, &self.sop_class);
        put(&mut elements, 0x0100, &self.field.to_le_bytes());
        put_number(&mut elements, 0x0110, self.message_id);
        put_number(&mut elements, 0x0120, self.responds_to);
        if !self.destination.is_empty() {
            put_text(&mut elements, 0x0600, &self.destination, b' ');
        }
        put_number(&mut elements, 0x0700, self.priority);
        let data_set_type = if self.has_data_set { WITH_DATA_SET } else { NO_DATA_SET };
        put(&mut elements, 0x0800, &data_set_type.to_le_bytes());
        put_number(&mut elements, 0x0900, self.status);
        if !self.comment.is_empty() {
            // The default repertoire is all that a command set has.
            let is_plain = |c: char| c.is_ascii() && !c.is_ascii_control() && c != '\\';
            let plain = self.comment.chars().map(|c| if is_plain(c) { c } else { '?' });
            put_text(&mut elements, 0x0902, &plain.take(MAX_COMMENT).collect::<String>(), b' ');
        }
        put_number(&mut elements, 0x0903, self.error_id);
        put_uid(&mut elements, 0x1000 + requested, &self.sop_instance);
        put_number(&mut elements, 0x1002, self.event_type);
        put_number(&mut elements, 0x1008, self.action_type);
        for (place, number) in self.suboperations.into_iter().enumerate() {
            put_number(&mut elements, 0x1020 + place as u16, number);
        }
        let mut whole = Vec::with_capacity(elements.len() + 12);
        put(&mut whole, 0x0000, &(elements.len() as u32).to_le_bytes());
        whole.extend(elements);
        whole
    }

    /// The response to this request, with a status and, where it is not empty, an Error Comment.
    pub(super) fn respond(&self, status: u16, comment: &str) -> Self {
        Self {
            field: self.field | field::RESPONSE,
            responds_to: Some(self.message_id.unwrap_or(0)),
            sop_class: self.sop_class.clone(),
            sop_instance: self.sop_instance.clone(),
            status: Some(status),
            comment: comment.to_owned(),
            event_type: self.event_type,
            action_type: self.action_type,
            ..Self::default()
        }
    }

    /// Whether this is a response to the request `message_id` of kind `field`.
    pub(super) fn answers(&self, field: u16, message_id: u16) -> bool {
        self.field == field | field::RESPONSE && self.responds_to == Some(message_id)
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned()
}

fn put_number(to: &mut Vec<u8>, element: u16, number: Option<u16>) {
    if let Some(number) = number {
        put(to, element, &number.to_le_bytes());
    }
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
        let request = Command::read(&store()).unwrap();
        assert_eq!(request.field, field::C_STORE);
        assert_eq!((request.message_id, request.has_data_set), (Some(7), true));
        assert_eq!(request.sop_class, "1.2.840.10008.5.1.4.1.1.2");
        assert_eq!(request.sop_instance, "1.2.3");
    }

    #[test]
    fn a_response_is_a_command_set_of_even_lengths() {
        let request = Command::read(&store()).unwrap();
        let bytes = request.respond(0xA700, "no room\n\\é").write();
        let response = Command::read(&bytes).unwrap();
        assert!(response.answers(field::C_STORE, 7) && !response.answers(field::C_STORE, 8));
        assert_eq!(response.status, Some(0xA700));
        assert_eq!(response.field, field::C_STORE | field::RESPONSE);
        assert!(!response.has_data_set);
        assert_eq!(u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize, bytes.len() - 12);
        let comment = bytes.windows(10).any(|window| window == b"no room???");
        assert!(comment && bytes.len().is_multiple_of(2));
    }

    #[test]
    fn elements_of_other_groups_are_passed_over() {
        let whole = [store(), vec![8, 0, 0x58, 0, 4, 0, 0, 0, b'1', b'.', b'2', 0]].concat();
        assert_eq!(Command::read(&whole), Command::read(&store()));
        assert_eq!(Command::read(&whole[..whole.len() - 1]), Err(CommandError::Cut(8, 0x58)));
    }

    #[test]
    fn broken_command_sets_are_named() {
        let whole = store();
        for cut in 1..whole.len() {
            // Whatever is left out, nothing but an error or a shorter request comes of it.
            let _ = Command::read(&whole[..cut]);
        }
        assert_eq!(Command::read(&whole[..40]), Err(CommandError::Cut(0, 0x0100)));
        assert_eq!(Command::read(&[]), Err(CommandError::Missing("Command Field (0000,0100)")));
        assert_eq!(Command::read(&[0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Err(CommandError::Cut(0, 2)));
    }
    #[test]
    fn what_is_written_is_read() {
        let command = Command {
            field: field::N_ACTION,
            message_id: Some(3),
            has_data_set: true,
            sop_class: "1.2.840.10008.1.20.1".to_owned(),
            sop_instance: "1.2.840.10008.1.20.1.1".to_owned(),
            is_requested: true,
            action_type: Some(1),
            ..Command::default()
        };
        assert_eq!(Command::read(&command.write()).unwrap(), command);
        let pending = Command {
            field: field::C_GET | field::RESPONSE,
            responds_to: Some(9),
            status: Some(0xFF00),
            suboperations: [Some(3), Some(2), Some(1), Some(0)],
            ..Command::default()
        };
        assert_eq!(Command::read(&pending.write()).unwrap(), pending);
    }
}
