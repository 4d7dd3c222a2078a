//! Inflating, with a cap that is checked before memory is taken.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

use super::ScanError;

/// Inflates a raw deflate stream (RFC 1951).
///
/// The stream is run through twice: once to count, so that a bomb costs time up to the cap but no memory, and once
/// into a buffer of just the right size.
pub(crate) fn inflate(deflated: &[u8], limit: usize) -> Result<Vec<u8>, ScanError> {
    let damaged = |error: io::Error| ScanError::Inflate(error.to_string());
    let past = limit as u64 + 1;
    let length = io::copy(&mut DeflateDecoder::new(deflated).take(past), &mut io::sink()).map_err(damaged)?;
    if length == past {
        return Err(ScanError::InflatesPast { limit });
    }
    let mut inflated = vec![0; length as usize];
    DeflateDecoder::new(deflated).read_exact(&mut inflated).map_err(damaged)?;
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::DeflateEncoder};

    use super::*;

    #[test]
    fn a_bomb_is_refused_and_what_fits_is_not() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[7; 1000]).unwrap();
        let deflated = encoder.finish().unwrap();
        assert_eq!(inflate(&deflated, 1000).unwrap(), [7; 1000]);
        assert_eq!(inflate(&deflated, 999), Err(ScanError::InflatesPast { limit: 999 }));
        assert!(matches!(inflate(&deflated[..4], 1000), Err(ScanError::Inflate(_))));
    }
}
