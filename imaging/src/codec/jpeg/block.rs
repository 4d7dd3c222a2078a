//! The coefficients of one block, in each way a scan can code them (T.81 annexes F and G).

use super::bits::BitReader;
use super::frame::BLOCK;
use super::huffman::{HuffmanTable, signed};
use crate::codec::CodecError;

/// Where the coefficients of the zigzag sequence stand in a block (T.81 figure A.6).
#[rustfmt::skip]
pub(super) const ZIGZAG: [usize; BLOCK] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The largest size of a DC difference: 11 bits for 8-bit samples, 15 for 12-bit ones.
const MAX_DC_SIZE: u8 = 15;

/// The part of every block that a progressive scan codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    /// First and last coefficient in zigzag order.
    pub first: usize,
    pub last: usize,
    /// The bit that is coded: lower ones come in later scans.
    pub low_bit: u32,
}

/// Decodes a whole block of a sequential scan (T.81 sect. F.2.2).
pub(super) fn sequential(
    bits: &mut BitReader<'_>,
    dc: &HuffmanTable,
    ac: &HuffmanTable,
    predicted: &mut i32,
    block: &mut [i16; BLOCK],
) -> Result<(), CodecError> {
    block[0] = next_dc(bits, dc, predicted)? as i16;
    let mut k = 1;
    while k < BLOCK {
        let symbol = ac.symbol(bits)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += zeros;
        let value = signed(bits, size)?;
        block[place(k, BLOCK - 1, bits)?] = value as i16;
        k += 1;
    }
    Ok(())
}

/// Decodes the first bits of a DC coefficient (T.81 sect. G.1.2.1).
pub(super) fn dc_first(
    bits: &mut BitReader<'_>,
    dc: &HuffmanTable,
    band: Band,
    predicted: &mut i32,
    block: &mut [i16; BLOCK],
) -> Result<(), CodecError> {
    // Bits shifted out at the top would be those of a value no encoder writes.
    block[0] = (next_dc(bits, dc, predicted)? << band.low_bit) as i16;
    Ok(())
}

/// Decodes one more bit of a DC coefficient (T.81 sect. G.1.2.1).
pub(super) fn dc_refine(bits: &mut BitReader<'_>, band: Band, block: &mut [i16; BLOCK]) -> Result<(), CodecError> {
    block[0] |= (bits.take(1)? << band.low_bit) as i16;
    Ok(())
}

/// Decodes the first bits of a band (T.81 sect. G.1.2.2). `end_of_band` counts the blocks still to
/// come that have nothing left in the band.
pub(super) fn ac_first(
    bits: &mut BitReader<'_>,
    ac: &HuffmanTable,
    band: Band,
    end_of_band: &mut u32,
    block: &mut [i16; BLOCK],
) -> Result<(), CodecError> {
    if *end_of_band > 0 {
        *end_of_band -= 1;
        return Ok(());
    }
    let mut k = band.first;
    while k <= band.last {
        let symbol = ac.symbol(bits)?;
        let (zeros, size) = (symbol >> 4, u32::from(symbol & 15));
        if size == 0 {
            if zeros < 15 {
                *end_of_band = end_of_band_run(bits, zeros)? - 1;
                break;
            }
            k += 16;
            continue;
        }
        k += usize::from(zeros);
        let value = signed(bits, size)? << band.low_bit;
        block[place(k, band.last, bits)?] = value as i16;
        k += 1;
    }
    Ok(())
}

/// Decodes one more bit of the coefficients of a band (T.81 sect. G.1.2.3): a bit for each that
/// is not zero, and new ones of the size of that bit.
pub(super) fn ac_refine(
    bits: &mut BitReader<'_>,
    ac: &HuffmanTable,
    band: Band,
    end_of_band: &mut u32,
    block: &mut [i16; BLOCK],
) -> Result<(), CodecError> {
    let one = 1i16 << band.low_bit;
    let mut k = band.first;
    while *end_of_band == 0 && k <= band.last {
        let symbol = ac.symbol(bits)?;
        let mut zeros = symbol >> 4;
        let new = match symbol & 15 {
            0 if zeros < 15 => {
                *end_of_band = end_of_band_run(bits, zeros)?;
                break;
            }
            0 => 0,
            1 if bits.take(1)? == 1 => one,
            1 => -one,
            _ => return Err(corrupt(bits)),
        };
        // Passes the zeros that the symbol counts, refining what lies between them.
        while k <= band.last {
            let coefficient = &mut block[ZIGZAG[k]];
            if *coefficient != 0 {
                refine(bits, coefficient, one)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        if new != 0 {
            block[place(k, band.last, bits)?] = new;
        }
        k += 1;
    }
    if *end_of_band > 0 {
        for &place in ZIGZAG.get(k..=band.last).unwrap_or_default() {
            if block[place] != 0 {
                refine(bits, &mut block[place], one)?;
            }
        }
        *end_of_band -= 1;
    }
    Ok(())
}

/// Decodes a DC difference and adds it to the prediction.
fn next_dc(bits: &mut BitReader<'_>, dc: &HuffmanTable, predicted: &mut i32) -> Result<i32, CodecError> {
    let size = dc.symbol(bits)?;
    if size > MAX_DC_SIZE {
        return Err(corrupt(bits));
    }
    // Wraps only where every difference is extreme, which no picture has.
    *predicted = predicted.wrapping_add(signed(bits, size.into())?);
    Ok(*predicted)
}

/// How many blocks, this one included, end here: `2^size` and as many bits more.
fn end_of_band_run(bits: &mut BitReader<'_>, size: u8) -> Result<u32, CodecError> {
    Ok((1 << size) + bits.take(size.into())?)
}

/// Adds the bit that comes next to a coefficient that is not zero, away from zero.
fn refine(bits: &mut BitReader<'_>, coefficient: &mut i16, one: i16) -> Result<(), CodecError> {
    if bits.take(1)? == 1 && *coefficient & one == 0 {
        let step = if *coefficient > 0 { one } else { -one };
        // Wraps only for a value no encoder writes.
        *coefficient = coefficient.wrapping_add(step);
    }
    Ok(())
}

/// Where coefficient `k` stands, which must be in its band.
fn place(k: usize, last: usize, bits: &BitReader<'_>) -> Result<usize, CodecError> {
    if k <= last { Ok(ZIGZAG[k]) } else { Err(corrupt(bits)) }
}

fn corrupt(bits: &BitReader<'_>) -> CodecError {
    CodecError::Corrupt { what: "JPEG coefficients", offset: bits.offset() }
}
