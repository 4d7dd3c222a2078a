//! Where slices lie: their order, and what is odd about it.
//!
//! Slices are ordered by their position along the common normal (PS3.3 section C.7.6.2.1.1), never by Instance
//! Number, which counts as the sender pleases.

mod steps;
mod vector;

use prelim_proto::image::Plane;

use vector::{cross, dot, minus, negate, normalize};

/// Normals further apart than this are of different stacks, in degrees. Scanners write the directions of one stack
/// to a few decimals; a scout or another reformat is turned by far more.
const MAX_TURN_DEG: f64 = 2.0;
/// A lean of less than this is none, in degrees.
const LEAST_TILT_DEG: f64 = 0.5;
/// Steps that differ by more than this part of the median are uneven.
const UNEVEN_PART: f64 = 0.1;

/// Slices in their order: from the feet to the head, from front to back, or from right to left, whichever way they
/// are stacked. All lists hold indexes of the slices given, except [`Stack::gaps`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stack {
    /// Parallel slices in order, one for each place.
    pub order: Vec<usize>,
    /// The place of each of them along the normal, in mm, ascending.
    pub along_mm: Vec<f64>,
    /// Median step between neighbours in mm; nothing for fewer than two slices.
    pub spacing_mm: Option<f64>,
    /// Smallest and largest step that is no gap, in mm.
    pub steps_mm: Option<(f64, f64)>,
    /// Places where slices are missing: the place in `order` before it, and the step there in mm.
    pub gaps: Vec<(usize, f64)>,
    /// Slices at the place of another one, which came before.
    pub duplicates: Vec<usize>,
    /// Slices that are not parallel to the most of them.
    pub oblique: Vec<usize>,
    /// Slices without a plane.
    pub unplaced: Vec<usize>,
    /// Angle between the normal and the line through the slices' corners, in degrees: the tilt of a gantry.
    pub lean_deg: f64,
}

impl Stack {
    /// Whether the slices are shifted against each other, as a tilted gantry makes them.
    pub fn is_tilted(&self) -> bool {
        self.lean_deg > LEAST_TILT_DEG
    }

    /// Whether steps differ, beside gaps.
    pub fn is_uneven(&self) -> bool {
        let (Some((smallest, largest)), Some(median)) = (self.steps_mm, self.spacing_mm) else { return false };
        largest - smallest > UNEVEN_PART * median
    }
}

/// Puts slices in order. Of slices at one place the first given stays.
pub fn stack(planes: &[Option<Plane>]) -> Stack {
    let placed: Vec<(usize, [f64; 3], [f64; 3])> = planes
        .iter()
        .enumerate()
        .filter_map(|(index, plane)| Some((index, normal(plane.as_ref()?)?, plane.as_ref()?.position_mm)))
        .collect();
    let unplaced = (0..planes.len()).filter(|index| !placed.iter().any(|(placed, ..)| placed == index)).collect();
    let Some(common) = most_common(placed.iter().map(|(_, normal, _)| *normal)) else {
        return Stack { unplaced, ..Stack::default() };
    };
    let oblique = placed.iter().filter(|(_, normal, _)| !is_parallel(*normal, common)).map(|(index, ..)| *index);
    let mut members: Vec<(usize, f64, [f64; 3])> = placed
        .iter()
        .filter(|(_, normal, _)| is_parallel(*normal, common))
        .map(|&(index, _, position)| (index, dot(position, common), position))
        .collect();
    // Equal places keep the order in which they came.
    members.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut duplicates = Vec::new();
    let mut previous = f64::NEG_INFINITY;
    members.retain(|&(index, along, _)| {
        let is_new = along - previous >= steps::SAME_PLACE_MM;
        if is_new {
            previous = along
        } else {
            duplicates.push(index)
        }
        is_new
    });
    let along_mm: Vec<f64> = members.iter().map(|member| member.1).collect();
    let steps = steps::Steps::of(&along_mm);
    Stack {
        order: members.iter().map(|member| member.0).collect(),
        spacing_mm: steps.median_mm,
        steps_mm: steps.regular_mm,
        gaps: steps.gaps,
        duplicates,
        oblique: oblique.collect(),
        unplaced,
        lean_deg: lean(&members, common),
        along_mm,
    }
}

/// The normal that most of them are parallel to; of equally many, the first.
fn most_common(normals: impl Iterator<Item = [f64; 3]>) -> Option<[f64; 3]> {
    let mut groups: Vec<([f64; 3], usize)> = Vec::new();
    for normal in normals {
        match groups.iter_mut().find(|(of_group, _)| is_parallel(*of_group, normal)) {
            Some((_, count)) => *count += 1,
            None => groups.push((normal, 1)),
        }
    }
    groups.into_iter().rev().max_by_key(|(_, count)| *count).map(|(normal, _)| normal)
}

fn is_parallel(one: [f64; 3], other: [f64; 3]) -> bool {
    dot(one, other) >= MAX_TURN_DEG.to_radians().cos()
}

fn lean(members: &[(usize, f64, [f64; 3])], normal: [f64; 3]) -> f64 {
    let (Some(first), Some(last)) = (members.first(), members.last()) else { return 0.0 };
    let line = normalize(minus(last.2, first.2));
    if line == [0.0; 3] { 0.0 } else { dot(line, normal).clamp(-1.0, 1.0).acos().to_degrees() }
}

/// Unit normal of a plane, turned so that its largest component is positive: to the head, the back or the left.
/// Nothing where the directions of row and column are one.
pub fn normal(plane: &Plane) -> Option<[f64; 3]> {
    let normal = normalize(cross(plane.row, plane.column));
    let largest = normal.into_iter().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    let is_finite = normal.iter().chain(&plane.position_mm).all(|component| component.is_finite());
    (is_finite && largest != 0.0).then(|| if largest < 0.0 { negate(normal) } else { normal })
}

/// The point of the patient, in mm, at the centre of the pixel in `row` and `column` (from 0, fractions allowed) of a
/// frame (PS3.3 equation C.7.6.2.1-1). `spacing_mm` is Pixel Spacing: between rows, then between columns.
pub fn patient_point(plane: &Plane, spacing_mm: (f64, f64), row: f64, column: f64) -> [f64; 3] {
    let (between_rows, between_columns) = spacing_mm;
    std::array::from_fn(|axis| {
        plane.position_mm[axis] + plane.row[axis] * between_columns * column + plane.column[axis] * between_rows * row
    })
}

/// A side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where columns start.
    Left,
    /// Where columns end.
    Right,
}

/// On which side of the picture the patient's left is; nothing where the columns do not run across the patient.
///
/// A slice seen in the usual way, from the feet, has the patient's left on the right.
pub fn patient_left(plane: &Plane) -> Option<Side> {
    let across = plane.row[0];
    // Less than 45 degrees from the line from right to left.
    (across.abs() > std::f64::consts::FRAC_1_SQRT_2).then_some(if across > 0.0 { Side::Right } else { Side::Left })
}

/// The same of a projection, by the direction of its rows in Patient Orientation (0020,0020), such as `L` or `RP`.
pub fn patient_left_of_rows(direction: &str) -> Option<Side> {
    match direction.trim().chars().next()? {
        'L' => Some(Side::Right),
        'R' => Some(Side::Left),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axial(z: f64) -> Option<Plane> {
        Some(Plane { position_mm: [-120.0, -120.0, z], row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] })
    }

    fn coronal(y: f64) -> Option<Plane> {
        Some(Plane { position_mm: [-120.0, y, 200.0], row: [1.0, 0.0, 0.0], column: [0.0, 0.0, -1.0] })
    }

    #[test]
    fn slices_run_from_the_feet_to_the_head_whatever_their_order() {
        let found = stack(&[axial(5.0), axial(-5.0), axial(0.0)]);
        assert_eq!((found.order.as_slice(), found.along_mm.as_slice()), (&[1, 2, 0][..], &[-5.0, 0.0, 5.0][..]));
        assert_eq!((found.spacing_mm, found.is_tilted(), found.is_uneven()), (Some(5.0), false, false));
        // Rows that run the other way turn the normal of the standard, and not ours.
        let flipped = |z| axial(z).map(|plane| Plane { row: [-1.0, 0.0, 0.0], ..plane });
        assert_eq!(stack(&[flipped(5.0), flipped(0.0)]).order, [1, 0]);
        assert_eq!(stack(&[coronal(5.0), coronal(0.0)]).order, [1, 0]);
    }

    #[test]
    fn what_does_not_fit_is_set_apart() {
        let found = stack(&[coronal(0.0), axial(1.0), None, axial(0.0), axial(1.0)]);
        assert_eq!(found.order, [3, 1]);
        assert_eq!((found.oblique, found.unplaced, found.duplicates), (vec![0], vec![2], vec![4]));
        assert_eq!(stack(&[None, None]).unplaced, [0, 1]);
        assert_eq!(stack(&[]), Stack::default());
    }

    #[test]
    fn a_tilted_gantry_is_seen_in_the_corners() {
        let shifted = |i: f64| axial(i * 5.0).map(|plane| Plane { position_mm: [0.0, i, i * 5.0], ..plane });
        let found = stack(&[shifted(0.0), shifted(1.0), shifted(2.0)]);
        assert!((found.lean_deg - 11.31).abs() < 0.01, "{}", found.lean_deg);
        assert!(found.is_tilted());
    }

    #[test]
    fn the_patients_left_is_on_the_right_of_a_usual_slice() {
        assert_eq!(patient_left(&axial(0.0).unwrap()), Some(Side::Right));
        assert_eq!(patient_left_of_rows("R"), Some(Side::Left));
        assert_eq!(patient_left_of_rows("A"), None);
    }

    #[test]
    fn a_pixel_is_where_the_standard_says() {
        let point = patient_point(&axial(7.0).unwrap(), (0.5, 0.25), 10.0, 20.0);
        assert_eq!(point, [-115.0, -115.0, 7.0]);
    }
}
