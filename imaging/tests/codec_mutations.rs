//! Damaged codestreams: every one is decoded or refused, soon, and in little memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use prelim_imaging::codec::{Limits, jpeg, jpegls, peek_dimensions, rle};

/// Damaged copies per decoder.
const MUTATIONS: usize = 2_000;
/// What a decoder may hold: small, so that a header believed too early shows.
const LIMITS: Limits = Limits { max_pixels: 1 << 22, max_bytes: 1 << 25 };
/// The longest that a codestream of a kilobyte may take, on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(20);
/// The most memory that this process may ever hold.
const PEAK_MEMORY_KIB: u64 = 256 * 1024;

/// A small generator (Marsaglia's xorshift), so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..start + 1 + self.below((length - start).min(32))
    }
}

/// Damages a codestream in one to four ways that lines, disks and attackers know.
fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const TELLING: [u8; 12] = [0x00, 0x01, 0x7f, 0x80, 0xff, 0xc0, 0xc2, 0xc4, 0xd0, 0xd9, 0xda, 0xf8];
    for _ in 0..1 + random.below(4) {
        if data.is_empty() {
            return;
        }
        let at = random.below(data.len());
        // Headers are where a byte does most: half of all damage goes to the first hundred.
        let near = random.below(data.len().min(100));
        match random.below(9) {
            0 => data[at] ^= 1 << random.below(8),
            1 => data[near] ^= 1 << random.below(8),
            2 => data[near] = TELLING[random.below(TELLING.len())],
            3 => data[at] = TELLING[random.below(TELLING.len())],
            4 => data[near] = random.below(256) as u8,
            5 => data.truncate(at),
            6 => drop(data.drain(random.range(data.len()).start.min(at)..=at)),
            7 => {
                let copy = data[random.range(data.len()).start..].iter().take(32).copied().collect::<Vec<u8>>();
                data.splice(at..at, copy);
            }
            _ => {
                let piece = &other[random.below(other.len())..];
                let length = piece.len().min(data.len() - at).min(64);
                data[at..at + length].copy_from_slice(&piece[..length]);
            }
        }
    }
}

fn inputs(extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/codec");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Decodes damaged copies of `inputs` and returns how many were refused.
fn refused(inputs: &[Vec<u8>], seed: u64, decode: impl Fn(&[u8]) -> bool) -> usize {
    let mut random = Random(seed);
    let mut refused = 0;
    for number in 0..MUTATIONS {
        let mut data = inputs[number % inputs.len()].clone();
        mutate(&mut data, &inputs[random.below(inputs.len())], &mut random);
        let start = Instant::now();
        refused += usize::from(!decode(&data));
        assert!(start.elapsed() < DEADLINE, "mutation {number} of seed {seed} takes {:?}", start.elapsed());
    }
    refused
}

/// A packed frame of 24 x 16 pixels of 16 bits.
fn packed() -> Vec<u8> {
    let mut data: Vec<u8> = [2u32, 64, 64 + 12].iter().flat_map(|number| number.to_le_bytes()).collect();
    data.resize(64, 0);
    data.extend([129, 1, 129, 2, 193, 3, 255, 4, 2, 5, 6, 7]);
    (0..3).for_each(|run| data.extend([129, run, 255, 9, 255, 8]));
    data
}

/// Promise: hostile codestreams cause errors, never a crash, a stall or runaway memory.
#[test]
fn damaged_codestreams_are_decoded_or_refused() {
    let jpeg_ls = refused(&inputs("jls"), 1, |data| jpegls::decode(data, &LIMITS).is_ok());
    let jpeg = refused(&inputs("jpg"), 2, |data| jpeg::decode(data, &LIMITS).is_ok());
    let shape = rle::Shape { width: 24, height: 16, samples_per_pixel: 1, bits_allocated: 16 };
    let rle = refused(&[packed()], 3, |data| rle::decode(data, &shape, &LIMITS).is_ok());
    for count in [jpeg_ls, jpeg, rle] {
        assert!((MUTATIONS / 20..MUTATIONS).contains(&count), "the damage does something: {count} refused");
    }
    for data in inputs("jls").iter().chain(&inputs("jpg")) {
        let mut random = Random(4);
        for _ in 0..100 {
            let mut damaged = data.clone();
            mutate(&mut damaged, data, &mut random);
            // Whatever it says: the answer itself is checked elsewhere.
            let _ = peek_dimensions(&damaged);
        }
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    assert!(peak.is_none_or(|peak: u64| peak < PEAK_MEMORY_KIB), "{peak:?} KiB at the peak");
}

/// Promise: an object cut short on its way is refused, whatever is left of it.
#[test]
fn every_prefix_is_decoded_or_refused() {
    for data in inputs("jls") {
        for end in 0..data.len() - 2 {
            let decoded = jpegls::decode(&data[..end], &LIMITS);
            // Bits of padding, and the marker behind them, may be missing.
            assert!(decoded.is_err() || end + 4 >= data.len(), "{end} of {} bytes", data.len());
        }
    }
    for data in inputs("jpg") {
        for end in 0..data.len() - 2 {
            let decoded = jpeg::decode(&data[..end], &LIMITS);
            assert!(decoded.is_err() || end + 4 >= data.len(), "{end} of {} bytes", data.len());
        }
    }
    for end in 0..packed().len() {
        let shape = rle::Shape { width: 24, height: 16, samples_per_pixel: 1, bits_allocated: 16 };
        let _ = rle::decode(&packed()[..end], &shape, &LIMITS);
    }
}
