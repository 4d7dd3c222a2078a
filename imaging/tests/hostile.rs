//! Bytes from outside: every sample, cut short and changed at random, ends as a value or as a typed error, in bounded
//! memory. A panic fails the test.

mod support;

use std::fs;

use prelim_imaging::Limits;
use prelim_imaging::decode::decode_frame;
use prelim_imaging::header::header_of;
use prelim_imaging::photometry::Photometry;
use prelim_imaging::scan::scan;

/// Most memory that this process may ever have held, in bytes.
const MAX_BYTES: u64 = 1 << 30;
/// Mutated objects tried.
const MUTANTS: usize = 600;

/// Reads all that may be read of an object without a decoder of others.
fn read_all(bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(scanned) = scan(bytes, &limits) else { return };
    let header = header_of(&scanned, bytes, None);
    let frames = header.ok().and_then(|header| header.instance.image).map_or(1, |image| image.frames);
    for number in [1, frames] {
        let _ = Photometry::read(&scanned, number);
        let _ = decode_frame(&scanned, number, &limits);
    }
}

#[test]
fn samples_cut_short_or_changed_at_random_end_as_typed_errors_in_bounded_memory() {
    let samples: Vec<Vec<u8>> = support::samples()
        .iter()
        .map(support::Sample::read)
        .filter(|bytes| (1..300_000).contains(&bytes.len()))
        .collect();
    for sample in support::samples() {
        read_all(&sample.read());
    }
    let mut random = Random(0x5EED);
    for mutant in 0..MUTANTS {
        let mut bytes = samples[mutant % samples.len()].clone();
        mutate(&mut bytes, &mut random);
        read_all(&bytes);
    }
    if let Some(peak) = peak_bytes() {
        assert!(peak < MAX_BYTES, "held {peak} bytes at the peak");
    }
}

/// Changes a few bytes, mostly near the front, where the header is; sometimes cuts, doubles or inserts.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let header = bytes.len().min(4096);
    for _ in 0..=random.below(8) {
        let within = if random.below(3) > 0 { header } else { bytes.len() };
        let at = random.below(within.max(1)).min(bytes.len().saturating_sub(1));
        match random.below(10) {
            0 => bytes.truncate(at.max(1)),
            1 => {
                let end = (at + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            // An undefined or enormous length.
            2 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xFF),
            // A sequence that begins, an item in it.
            3 => drop(bytes.splice(at..at, *b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF")),
            4 | 5 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.below(256) as u8,
        }
    }
}

/// xorshift64*, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }
}

/// The most memory that this process has held, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
