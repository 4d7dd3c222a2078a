//! Intake under attack: mutated files by the thousand, crowds, and whoever breaks off in the middle of anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use prelim_tests::object::{CT, EXPLICIT_LITTLE_ENDIAN, Object};
use prelim_tests::sender::{Sender, pdu};
use prelim_tests::server::Server;
use prelim_tests::workspace::dicom_files;
use prelim_tests::{PATIENCE, eventually, prelim_json, repository};

/// Files that the fuzzer sends, all in all.
const MUTATED: usize = 10_000;
const SENDERS: usize = 4;
/// Files that are worth mutating: longer ones only cost time.
const LONGEST_SEED: u64 = 64 << 10;
/// Memory for objects that are being received, and what the process may take at most, in MiB.
const MEMORY_MIB: (u32, u64) = (64, 512);
const VERIFICATION: &str = "1.2.840.10008.1.1";

/// A coordinator without workers that listens to DICOM.
struct Site {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Site {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut arguments = vec!["coordinator", "--json", "--grpc", "127.0.0.1:0", "--data", "data"];
        arguments.extend(["--dicom", "127.0.0.1:0", "--aet", "PRELIM"]);
        arguments.extend(more);
        Self { server: Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "error")]), _folder: folder }
    }

    fn port(&self) -> u16 {
        let port = self.server.dicom.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("TITLE@HOST:PORT")
    }

    /// Instances of all studies.
    fn instances(&self) -> u64 {
        let studies = prelim_json(["studies", "--json", "--grpc", &self.server.grpc, "--limit", "1000"]);
        let counts = studies.as_array().expect("a list").iter().map(|study| study["instances"].as_u64());
        counts.map(|count| count.expect("a number")).sum()
    }

    /// Is up, has said nothing of a panic, and lets in whoever comes.
    fn is_well(&mut self) {
        assert!(self.server.is_alive(), "{}", self.server.log());
        assert!(!self.server.log().contains("panicked"), "{}", self.server.log());
        let mut sender = Sender::associate(self.port(), verification()).expect("an association");
        sender.echo_command(0).expect("a request");
        assert_eq!(sender.status().expect("an answer"), 0);
    }
}

fn verification() -> Vec<(String, String)> {
    vec![(VERIFICATION.to_owned(), "1.2.840.10008.1.2".to_owned())]
}

fn ct() -> Vec<(String, String)> {
    vec![(CT.to_owned(), EXPLICIT_LITTLE_ENDIAN.to_owned())]
}

/// A CT slice without its file meta information, and its UID.
fn slice(number: u16) -> (String, Vec<u8>) {
    let uid = format!("2.25.9.{number}");
    let file = Object::image(CT, "2.25.9", &uid, number).file();
    let seed = Seed::of(&file).expect("a file of ours");
    (uid, seed.data_set)
}

/// A file to mutate.
#[derive(Debug, Clone)]
struct Seed {
    class: String,
    syntax: String,
    instance: String,
    data_set: Vec<u8>,
}

impl Seed {
    /// Reads the file meta information, which is in Explicit VR Little Endian; `None` where there is none.
    fn of(file: &[u8]) -> Option<Self> {
        let mut rest = file.get(128..)?.strip_prefix(b"DICM")?;
        let mut found = BTreeMap::new();
        while let [2, 0, low, high, a, b, after @ ..] = rest {
            let is_long = matches!(&[*a, *b], b"OB" | b"UN" | b"OW" | b"SQ" | b"UT");
            let (length, after) = match is_long {
                true => (u32::from_le_bytes(after.get(2..6)?.try_into().ok()?) as usize, after.get(6..)?),
                false => (u16::from_le_bytes(after.get(..2)?.try_into().ok()?) as usize, after.get(2..)?),
            };
            found.insert(u16::from_le_bytes([*low, *high]), after.get(..length)?);
            rest = &after[length..];
        }
        let uid = |element: u16| {
            let text = std::str::from_utf8(found.get(&element)?).ok()?;
            Some(text.trim_end_matches(['\0', ' ']).to_owned()).filter(|uid| !uid.is_empty())
        };
        Some(Self { class: uid(0x02)?, syntax: uid(0x10)?, instance: uid(0x03)?, data_set: rest.to_vec() })
    }

    /// The same object under another UID of the same length, where that is long enough.
    fn renamed(&self, number: usize) -> Option<Self> {
        let digits = self.instance.len().checked_sub("2.25.1".len())?;
        let name = format!("2.25.1{number:0digits$}");
        if name.len() != self.instance.len() {
            return None;
        }
        let (old, new) = (self.instance.as_bytes(), name.as_bytes());
        let mut data_set = self.data_set.clone();
        let mut from = 0;
        while let Some(at) = data_set[from..].windows(old.len()).position(|window| window == old) {
            data_set[from + at..from + at + new.len()].copy_from_slice(new);
            from += at + new.len();
        }
        Some(Self { instance: name, data_set, ..self.clone() })
    }
}

/// Numbers that look random: xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }

    /// Breaks some bytes as disks, networks and bad software do: bits, lengths, cuts, repeats, pieces of another file.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..1 + self.below(4) {
            // Half of the time within the first elements, where the structure is.
            let span = if self.below(2) == 0 { bytes.len().min(600) } else { bytes.len() };
            let at = self.below(span);
            let length = self.below(64).min(bytes.len().saturating_sub(at));
            match self.below(12) {
                0..=5 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                6 if at + 4 <= bytes.len() => {
                    let lengths = [0_u32, 1, 7, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFE, u32::MAX];
                    bytes[at..at + 4].copy_from_slice(&lengths[self.below(lengths.len())].to_le_bytes());
                }
                7 => drop(bytes.drain(at..at + length)),
                8 => {
                    let piece = bytes[at..at + length].to_vec();
                    bytes.splice(at..at, piece);
                }
                9 => bytes.truncate(at),
                10 => {
                    let from = self.below(other.len());
                    let piece = other[from..(from + length).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                // The beginning of a sequence of undefined length within others.
                _ => {
                    let nested =
                        [0x08, 0x00, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0x00, 0xe0];
                    bytes.splice(at..at, nested.repeat(1 + self.below(100)));
                }
            }
        }
    }
}

fn seeds() -> Vec<Seed> {
    let short = |path: &PathBuf| path.metadata().expect("a file").len() < LONGEST_SEED;
    let paths = dicom_files(&repository().join("tests/data/dicom")).into_iter().filter(short);
    let mut seeds: Vec<_> = paths.filter_map(|path| Seed::of(&fs::read(path).expect("a file"))).collect();
    // What is taken for certain, as often as all the others, so that mutants of it are taken as well.
    let others = seeds.len() as u16;
    seeds.extend((0..others).map(|number| {
        let file = Object::image(CT, "2.25.77.5", &format!("2.25.77.5.1000000000{number:02}"), number).file();
        Seed::of(&file).expect("a file of ours")
    }));
    seeds
}

/// Sends every `SENDERS`th mutant, and returns the instances that were acknowledged, with how often each status came.
fn attack(port: u16, seeds: &[Seed], first: usize) -> (BTreeSet<String>, BTreeMap<u16, usize>) {
    let contexts: BTreeSet<_> = seeds.iter().map(|seed| (seed.class.clone(), seed.syntax.clone())).collect();
    let contexts: Vec<_> = contexts.into_iter().collect();
    let (mut acknowledged, mut statuses) = (BTreeSet::new(), BTreeMap::new());
    let mut sender = None;
    for number in (first..MUTATED).step_by(SENDERS) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1).wrapping_mul(0xD129_0D3E_5F1A_9B6B));
        let seed = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())].data_set;
        let mut object = seed.renamed(number).unwrap_or_else(|| seed.clone());
        random.mutate(&mut object.data_set, other);
        let place = contexts.iter().position(|(class, syntax)| (class, syntax) == (&seed.class, &seed.syntax));
        let place = place.expect("a context for each seed");
        let association = sender.get_or_insert_with(|| Sender::associate(port, contexts.clone()).expect("let in"));
        match association.store(place, &object.instance, &object.data_set) {
            Ok(status) => {
                *statuses.entry(status).or_default() += 1;
                // Success and the warnings (PS3.4 table B.2-1).
                if status == 0 || status >> 12 == 0xB {
                    acknowledged.insert(object.instance);
                }
            }
            // Aborted: by a context that was not accepted, for example.
            Err(_) => sender = None,
        }
    }
    (acknowledged, statuses)
}

/// Most memory that a process took, in MiB.
fn peak_mib(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

/// Issue promise: 10,000 mutated files: the server stays up, its memory is bounded, and each object that it acknowledged is
/// there after kill -9.
#[test]
fn ten_thousand_mutated_files_harm_nobody_and_what_is_acknowledged_is_kept() {
    let memory = MEMORY_MIB.0.to_string();
    let mut site = Site::start(&["--dicom-memory-mib", &memory]);
    let seeds: Vec<_> = accepted(site.port(), seeds());
    assert!(seeds.len() >= 10, "{} files to mutate", seeds.len());
    let port = site.port();
    let attacks: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..SENDERS)
            .map(|first| {
                scope.spawn({
                    let seeds = &seeds;
                    move || attack(port, seeds, first)
                })
            })
            .collect();
        started.into_iter().map(|attack| attack.join().expect("a sender")).collect()
    });
    let (mut acknowledged, mut statuses) = (BTreeSet::new(), BTreeMap::<u16, usize>::new());
    for (some, counts) in attacks {
        acknowledged.extend(some);
        for (status, count) in counts {
            *statuses.entry(status).or_default() += count;
        }
    }
    let answered: usize = statuses.values().sum();
    assert_eq!(answered, MUTATED, "each is answered: {statuses:04X?}");
    // Both ways out are taken, or the mutants test nothing.
    assert!(acknowledged.len() > MUTATED / 20 && answered - acknowledged.len() > MUTATED / 20, "{statuses:04X?}");
    site.is_well();
    let peak = peak_mib(site.server.id());
    assert!(peak < MEMORY_MIB.1, "{peak} MiB at most");
    site.server.kill();
    site.server.start_again();
    assert_eq!(site.instances(), acknowledged.len() as u64, "{statuses:04X?}");
    site.is_well();
}

/// Those whose presentation contexts are accepted; the others could not be sent at all.
fn accepted(port: u16, seeds: Vec<Seed>) -> Vec<Seed> {
    let is_accepted = |seed: &Seed| -> io::Result<bool> {
        let mut sender = Sender::connect(port, vec![(seed.class.clone(), seed.syntax.clone())])?;
        sender.request()?;
        let (kind, body) = sender.read()?;
        // The items follow 68 bytes: the application context, then the answer to ours, whose fifth byte is its result.
        let application = usize::from(u16::from_be_bytes([body[70], body[71]]));
        Ok(kind == pdu::ACCEPT && body[68 + 4 + application + 6] == 0)
    };
    seeds.into_iter().filter(|seed| is_accepted(seed).expect("an answer")).collect()
}

/// Issue promise: 500 associations at once, each of them served; whoever comes on top is told so.
#[test]
fn five_hundred_associations_send_at_once() {
    const MOST: usize = 500;
    // The first of them waits until the last is there.
    let mut site = Site::start(&["--dicom-associations", &MOST.to_string(), "--dicom-idle-s", "600"]);
    let port = site.port();
    let mut senders: Vec<_> = (0..MOST)
        .map(|number| Sender::associate(port, ct()).unwrap_or_else(|error| panic!("association {number}: {error}")))
        .collect();
    for _ in 0..20 {
        let mut late = Sender::connect(port, ct()).expect("a connection");
        late.request().expect("a request");
        let (kind, body) = late.read().expect("an answer");
        // Transient, by the presentation layer, local limit exceeded (PS3.8 table 9-21).
        assert_eq!((kind, &body[1..]), (pdu::REJECT, &[2, 3, 2][..]));
    }
    // All of them are within an object at the same time.
    let objects: Vec<_> = (0..MOST as u16).map(slice).collect();
    for (sender, (uid, bytes)) in senders.iter_mut().zip(&objects) {
        sender.store_command(0, uid).expect("a command");
        sender.fragment(0, 0, &bytes[..bytes.len() / 2]).expect("half an object");
    }
    for (sender, (_, bytes)) in senders.iter_mut().zip(&objects) {
        sender.fragment(0, 0b10, &bytes[bytes.len() / 2..]).expect("the other half");
    }
    for sender in &mut senders {
        assert_eq!(sender.status().expect("an answer"), 0);
    }
    drop(senders);
    assert_eq!(site.instances(), MOST as u64);
    site.is_well();
}

/// Issue promise: a sender that dies in the middle, and an abort in every state: place and memory are free again, and half an
/// object is none.
#[test]
fn whoever_ends_in_any_state_leaves_nothing_behind() {
    const PLACES: usize = 4;
    // Those of all rounds together are more than the memory for objects.
    const FRAGMENT: usize = 120_000;
    const FRAGMENTS: usize = 70;
    type Step = fn(&mut Sender, &(String, Vec<u8>)) -> io::Result<()>;
    // What is done in order; the end comes after each of them.
    let steps: [Step; 9] = [
        |_, _| Ok(()),
        |sender, _| sender.write_raw(&[pdu::REQUEST, 0, 0, 0]),
        |sender, _| sender.request(),
        |sender, _| match sender.read()?.0 {
            pdu::REJECT => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Ok(()),
        },
        |sender, (uid, _)| sender.store_command(0, uid),
        |sender, _| (0..FRAGMENTS).try_for_each(|_| sender.fragment(0, 0, &[0; FRAGMENT])),
        |sender, _| sender.write_raw(&[pdu::DATA, 0, 0, 0, 16, 0, 1]),
        |sender, (uid, bytes)| sender.store_command(0, uid).and_then(|()| sender.data_set(0, bytes)),
        |sender, _| sender.write(pdu::RELEASE, &[0; 4]),
    ];
    // Which of the steps before belong to each end: bytes of half a PDU are the last that is said.
    let ways: [&[usize]; 9] =
        [&[0], &[1], &[2], &[2, 3], &[2, 3, 4], &[2, 3, 4, 5], &[2, 3, 4, 5, 6], &[2, 3, 7], &[2, 3, 8]];
    let mut site = Site::start(&["--dicom-associations", &PLACES.to_string(), "--dicom-memory-mib", "64"]);
    let object = slice(1);
    let mut whole = 0;
    for round in 0..6 {
        for way in ways {
            let began = Instant::now();
            let mut sender = loop {
                let mut sender = Sender::connect(site.port(), ct()).expect("a connection");
                match way.iter().try_for_each(|step| steps[*step](&mut sender, &object)) {
                    Ok(()) => break sender,
                    // The places of those before may not be free yet.
                    Err(error) => assert!(
                        error.kind() == io::ErrorKind::ConnectionRefused && began.elapsed() < PATIENCE,
                        "{way:?}: {error}"
                    ),
                }
            };
            whole += usize::from(way.contains(&7));
            if round % 2 == 0 {
                // Who gets to read it has gone: that is the other way to end.
                let _ = sender.write(pdu::ABORT, &[0; 4]);
            }
            sender.hang_up();
        }
    }
    assert!(whole > 0);
    // All places are free, and the memory too.
    let began = Instant::now();
    let mut senders = Vec::new();
    while senders.len() < PLACES {
        match Sender::associate(site.port(), ct()) {
            Ok(sender) => senders.push(sender),
            Err(error) => assert!(began.elapsed() < PATIENCE, "{} places: {error}", senders.len()),
        }
    }
    for (number, sender) in senders.iter_mut().enumerate() {
        let (uid, bytes) = slice(100 + number as u16);
        assert_eq!(sender.store(0, &uid, &bytes).expect("an answer"), 0);
    }
    drop(senders);
    // The object that was sent whole, and those of the end.
    eventually(
        PATIENCE,
        || format!("{} instances instead of {}", site.instances(), PLACES + 1),
        || site.instances() == PLACES as u64 + 1,
    );
    site.is_well();
}
