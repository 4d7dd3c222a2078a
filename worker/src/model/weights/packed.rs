//! Quantised weights of a module, as `compressed-tensors` packs them (`pack-quantized`): `weight_packed` has whole numbers in
//! words of 32 bits, `weight_scale` a scale for each group of inputs, `weight_shape` the shape that the numbers have unpacked.

use prelim_kernels::{Bits, Grid, WeightView};
use safetensors::Dtype;

use super::{ModelError, Tensor, Weights};

/// Ends of the keys.
pub(super) const NUMBERS: &str = ".weight_packed";
const SCALES: &str = ".weight_scale";
const SHAPE: &str = ".weight_shape";
/// What asks for another arithmetic: offsets of groups, and groups whose inputs are not next to each other.
const UNREAD: [&str; 2] = [".weight_zero_point", ".weight_g_idx"];

/// The weight of the module, where it is in the file.
pub(super) fn view<'a>(
    weights: &'a Weights,
    stem: &str,
    rows: usize,
    columns: usize,
) -> Result<WeightView<'a>, ModelError> {
    let (numbers, scales) = (tensor(weights, stem, NUMBERS)?, tensor(weights, stem, SCALES)?);
    let refuse = |tensor: &Tensor<'_>, what: String| ModelError::Quantised {
        file: tensor.file().to_owned(),
        name: tensor.name().to_owned(),
        what,
    };
    if let Some(other) = UNREAD.iter().find_map(|end| tensor(weights, stem, end).ok()) {
        return Err(refuse(&other, "is there".to_owned()));
    }
    let shape = tensor(weights, stem, SHAPE)?;
    if unpacked(&shape) != Some([rows, columns]) {
        let found = unpacked(&shape).map_or_else(Vec::new, Vec::from);
        let (file, name) = (shape.file().to_owned(), shape.name().to_owned());
        return Err(ModelError::Shape { file, name, found, expected: vec![rows, columns] });
    }
    let (Dtype::I32, [found_rows, words]) = (numbers.dtype(), numbers.shape()) else {
        return Err(refuse(&numbers, format!("is {:?} of {:?}", numbers.dtype(), numbers.shape())));
    };
    let bits = [Bits::Eight, Bits::Four].into_iter().find(|bits| words_of(*bits, columns) == *words);
    let Some(bits) = bits.filter(|_| *found_rows == rows) else {
        return Err(refuse(&numbers, format!("has {words} words in {found_rows} rows for {rows} x {columns} numbers")));
    };
    let (Dtype::BF16, [scale_rows, groups]) = (scales.dtype(), scales.shape()) else {
        return Err(refuse(&scales, format!("is {:?} of {:?}", scales.dtype(), scales.shape())));
    };
    let grid = Grid { bits, group: columns.checked_div(*groups).unwrap_or(0) };
    if *scale_rows != rows || groups * grid.group != columns || !grid.fits(columns) {
        let what = format!("is {scale_rows} x {groups} for {rows} x {columns} numbers, in groups of no multiple of 32");
        return Err(refuse(&scales, what));
    }
    let at = |tensor: &Tensor<'a>| (&weights.shards[tensor.shard].map, tensor.placed.bytes.start);
    Ok(WeightView::quantised(at(&numbers), at(&scales), grid, rows, columns))
}

/// How many bits the numbers of a module have, as far as its tensors tell.
pub(super) fn bits(weights: &Weights, stem: &str) -> Option<Bits> {
    let [_, columns] = unpacked(&tensor(weights, stem, SHAPE).ok()?)?;
    let words = *tensor(weights, stem, NUMBERS).ok()?.shape().last()?;
    [Bits::Eight, Bits::Four].into_iter().find(|bits| words_of(*bits, columns) == words)
}

fn words_of(bits: Bits, columns: usize) -> usize {
    columns.div_ceil(match bits {
        Bits::Eight => 4,
        Bits::Four => 8,
    })
}

fn tensor<'a>(weights: &'a Weights, stem: &str, end: &str) -> Result<Tensor<'a>, ModelError> {
    weights.tensor(&format!("{stem}{end}"))
}

/// What a `weight_shape` says.
fn unpacked(shape: &Tensor<'_>) -> Option<[usize; 2]> {
    let numbers = shape.bytes();
    let number = |at: usize, size: usize| -> Option<usize> {
        let mut bytes = [0u8; 8];
        bytes[..size].copy_from_slice(numbers.get(at..at + size)?);
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    match (shape.dtype(), shape.shape()) {
        (Dtype::I64, [2]) => Some([number(0, 8)?, number(8, 8)?]),
        (Dtype::I32, [2]) => Some([number(0, 4)?, number(4, 4)?]),
        _ => None,
    }
}
