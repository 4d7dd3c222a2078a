//! A sender of DICOM over TCP that can stop at any byte: PDUs put together here, not by a library that would finish them
//! (PS3.8 section 9.3, PS3.7 section 9.3).

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::PATIENCE;

/// Length of the fragments of a data set: below what any peer takes.
const FRAGMENT: usize = 12_000;
const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Our implementation, made up from a UUID as PS3.5 annex B.2 says.
const IMPLEMENTATION: &str = "2.25.288213901827364551726354";

/// Types of PDU.
pub mod pdu {
    /// A-ASSOCIATE-RQ.
    pub const REQUEST: u8 = 1;
    /// A-ASSOCIATE-AC.
    pub const ACCEPT: u8 = 2;
    /// A-ASSOCIATE-RJ.
    pub const REJECT: u8 = 3;
    /// P-DATA-TF.
    pub const DATA: u8 = 4;
    /// A-RELEASE-RQ.
    pub const RELEASE: u8 = 5;
    /// A-ABORT.
    pub const ABORT: u8 = 7;
}

/// A connection, and what was proposed on it.
pub struct Sender {
    stream: TcpStream,
    /// Pairs of SOP class and transfer syntax; the place says the presentation context.
    contexts: Vec<(String, String)>,
}

impl Sender {
    /// Connects, and asks for nothing yet. `contexts` are pairs of SOP class and transfer syntax, at most 128.
    pub fn connect(port: u16, contexts: Vec<(String, String)>) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, contexts })
    }

    /// Connects and associates.
    ///
    /// # Errors
    /// Also where the association is rejected.
    pub fn associate(port: u16, contexts: Vec<(String, String)>) -> io::Result<Self> {
        let mut sender = Self::connect(port, contexts)?;
        sender.request()?;
        match sender.read()?.0 {
            pdu::ACCEPT => Ok(sender),
            kind => Err(io::Error::other(format!("a PDU of type {kind} in answer to a request"))),
        }
    }

    /// Asks for an association.
    pub fn request(&mut self) -> io::Result<()> {
        let mut body = vec![0, 1, 0, 0];
        body.extend(format!("{:16}{:16}", "PRELIM", "SENDER").bytes());
        body.extend([0; 32]);
        item(&mut body, 0x10, APPLICATION_CONTEXT.as_bytes());
        for (place, (class, syntax)) in self.contexts.iter().enumerate() {
            let mut context = vec![context_id(place), 0, 0, 0];
            item(&mut context, 0x30, class.as_bytes());
            item(&mut context, 0x40, syntax.as_bytes());
            item(&mut body, 0x20, &context);
        }
        let mut user = Vec::new();
        item(&mut user, 0x51, &(1_u32 << 17).to_be_bytes());
        item(&mut user, 0x52, IMPLEMENTATION.as_bytes());
        item(&mut body, 0x50, &user);
        self.write(pdu::REQUEST, &body)
    }

    /// Sends a PDU.
    pub fn write(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut bytes = vec![kind, 0];
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
        self.stream.write_all(&bytes)
    }

    /// Sends bytes as they are.
    pub fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next PDU: its type and what is in it.
    pub fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 6];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }

    /// Sends a C-STORE-RQ of an instance, in the context of its class and syntax.
    pub fn store_command(&mut self, place: usize, instance: &str) -> io::Result<()> {
        let class = self.contexts[place].0.clone();
        let elements = [
            (0x0002, padded(&class)),
            (0x0100, vec![0x01, 0x00]),
            (0x0110, vec![0x01, 0x00]),
            (0x0700, vec![0x00, 0x00]),
            (0x0800, vec![0x01, 0x00]),
            (0x1000, padded(instance)),
        ];
        self.fragment(place, 0b11, &command(&elements))
    }

    /// Sends a C-ECHO-RQ.
    pub fn echo_command(&mut self, place: usize) -> io::Result<()> {
        let class = self.contexts[place].0.clone();
        let elements = [
            (0x0002, padded(&class)),
            (0x0100, vec![0x30, 0x00]),
            (0x0110, vec![0x01, 0x00]),
            (0x0800, vec![0x01, 0x01]),
        ];
        self.fragment(place, 0b11, &command(&elements))
    }

    /// Sends a fragment; bit 0 of `flags` says command, bit 1 that it is the last (PS3.8 annex E.2).
    pub fn fragment(&mut self, place: usize, flags: u8, data: &[u8]) -> io::Result<()> {
        let mut body = ((data.len() + 2) as u32).to_be_bytes().to_vec();
        body.extend([context_id(place), flags]);
        body.extend(data);
        self.write(pdu::DATA, &body)
    }

    /// Sends a whole data set.
    pub fn data_set(&mut self, place: usize, bytes: &[u8]) -> io::Result<()> {
        let mut fragments = bytes.chunks(FRAGMENT).peekable();
        if fragments.peek().is_none() {
            return self.fragment(place, 0b10, &[]);
        }
        while let Some(fragment) = fragments.next() {
            self.fragment(place, if fragments.peek().is_none() { 0b10 } else { 0 }, fragment)?;
        }
        Ok(())
    }

    /// The status of the next response.
    ///
    /// # Errors
    /// Where another PDU comes, or a response without a status.
    pub fn status(&mut self) -> io::Result<u16> {
        let (kind, body) = self.read()?;
        if kind != pdu::DATA {
            return Err(io::Error::other(format!("a PDU of type {kind} in answer to a message")));
        }
        // The first fragment holds all of a response's command set.
        let mut rest = body.get(6..).unwrap_or_default();
        while let [_, _, low, high, a, b, c, d, after @ ..] = rest {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            if (*low, *high) == (0x00, 0x09) && after.len() >= 2 {
                return Ok(u16::from_le_bytes([after[0], after[1]]));
            }
            rest = after.get(length..).unwrap_or_default();
        }
        Err(io::Error::other("a response without a status"))
    }

    /// Stores an object, and returns the status.
    pub fn store(&mut self, place: usize, instance: &str, bytes: &[u8]) -> io::Result<u16> {
        self.store_command(place, instance)?;
        self.data_set(place, bytes)?;
        self.status()
    }

    /// Hangs up.
    pub fn hang_up(self) {
        // The peer may have done so first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Presentation contexts have odd numbers.
fn context_id(place: usize) -> u8 {
    2 * place as u8 + 1
}

fn item(to: &mut Vec<u8>, kind: u8, body: &[u8]) {
    to.extend([kind, 0]);
    to.extend((body.len() as u16).to_be_bytes());
    to.extend(body);
}

/// A UID with the zero that makes its length even.
fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// A command set of elements of group 0000, with its group length.
fn command(elements: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let element = |to: &mut Vec<u8>, number: u16, value: &[u8]| {
        to.extend([0, 0]);
        to.extend(number.to_le_bytes());
        to.extend((value.len() as u32).to_le_bytes());
        to.extend(value);
    };
    let mut body = Vec::new();
    for (number, value) in elements {
        element(&mut body, *number, value);
    }
    let mut bytes = Vec::new();
    element(&mut bytes, 0, &(body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}
