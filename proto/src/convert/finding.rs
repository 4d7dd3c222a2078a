//! Findings and their evidence.

use super::{ConvertError, all, bad, each, enums, known, required};
use crate::finding::{Evidence, Finding, ImageBox, Laterality, Presence, Severity, Zone};
use crate::ids::{Digest, Uid};
use crate::report::ModelProvenance;
use crate::v1;
use crate::vocabulary::FindingCode;

enums!("presence", Presence, v1::Presence, { Present, Absent, Uncertain });
enums!("laterality", Laterality, v1::Laterality, { Left, Right, Bilateral });
enums!("severity", Severity, v1::Severity, { Small, Mild, Moderate, Large, Severe });
enums!("zone", Zone, v1::Zone, { Upper, Mid, Lower, Anterior, Posterior });

/// An enum whose zero means "none".
fn optional<P, D>(field: &'static str, value: i32) -> Result<Option<D>, ConvertError>
where
    P: TryFrom<i32>,
    D: TryFrom<P, Error = ConvertError>,
{
    if value == 0 { Ok(None) } else { D::try_from(known::<P>(field, value)?).map(Some) }
}

/// A probability.
fn probability(field: &'static str, value: f32) -> Result<f32, ConvertError> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(bad(field, value)) }
}

impl From<ImageBox> for v1::ImageBox {
    fn from(b: ImageBox) -> Self {
        Self { top: b.top, left: b.left, bottom: b.bottom, right: b.right }
    }
}

impl TryFrom<v1::ImageBox> for ImageBox {
    type Error = ConvertError;
    fn try_from(b: v1::ImageBox) -> Result<Self, ConvertError> {
        Self::new(b.top, b.left, b.bottom, b.right).ok_or_else(|| bad("bounds", b))
    }
}

impl From<Evidence> for v1::Evidence {
    fn from(e: Evidence) -> Self {
        Self {
            instance_uid: e.instance.into(),
            series_uid: e.series.into(),
            frame: e.frame,
            bounds: e.bounds.map(Into::into),
            confidence: e.confidence,
        }
    }
}

impl TryFrom<v1::Evidence> for Evidence {
    type Error = ConvertError;
    fn try_from(e: v1::Evidence) -> Result<Self, ConvertError> {
        if e.frame == 0 {
            return Err(bad("evidence.frame", e.frame));
        }
        Ok(Self {
            instance: Uid::parse(&e.instance_uid)?,
            series: Uid::parse(&e.series_uid)?,
            frame: e.frame,
            bounds: e.bounds.map(TryInto::try_into).transpose()?,
            confidence: probability("evidence.confidence", e.confidence)?,
        })
    }
}

impl From<Finding> for v1::Finding {
    fn from(f: Finding) -> Self {
        Self {
            code: f.code.key().to_owned(),
            presence: v1::Presence::from(f.presence) as i32,
            laterality: f.laterality.map_or(0, |v| v1::Laterality::from(v) as i32),
            zone: f.zone.map_or(0, |v| v1::Zone::from(v) as i32),
            severity: f.severity.map_or(0, |v| v1::Severity::from(v) as i32),
            size_mm: f.size_mm,
            confidence: f.confidence,
            evidence: all(f.evidence),
        }
    }
}

impl TryFrom<v1::Finding> for Finding {
    type Error = ConvertError;
    fn try_from(f: v1::Finding) -> Result<Self, ConvertError> {
        if f.size_mm.is_some_and(|mm| !(mm.is_finite() && mm >= 0.0)) {
            return Err(bad("size_mm", f.size_mm));
        }
        Ok(Self {
            code: FindingCode::from_key(&f.code).ok_or_else(|| bad("finding.code", &f.code))?,
            presence: known::<v1::Presence>("presence", f.presence)?.try_into()?,
            laterality: optional::<v1::Laterality, _>("laterality", f.laterality)?,
            zone: optional::<v1::Zone, _>("zone", f.zone)?,
            severity: optional::<v1::Severity, _>("severity", f.severity)?,
            size_mm: f.size_mm,
            confidence: probability("finding.confidence", f.confidence)?,
            evidence: each(f.evidence)?,
        })
    }
}

impl From<ModelProvenance> for v1::ModelProvenance {
    fn from(m: ModelProvenance) -> Self {
        Self {
            name: m.name,
            digest: m.digest.into(),
            prompt_version: m.prompt_version,
            preprocess_version: m.preprocess_version,
            arithmetic: m.arithmetic,
            software_version: m.software_version,
            demonstration: m.demonstration,
            base: m.base,
        }
    }
}

impl TryFrom<v1::ModelProvenance> for ModelProvenance {
    type Error = ConvertError;
    fn try_from(m: v1::ModelProvenance) -> Result<Self, ConvertError> {
        Ok(Self {
            name: m.name,
            digest: Digest::parse(&m.digest)?,
            prompt_version: m.prompt_version,
            preprocess_version: m.preprocess_version,
            arithmetic: m.arithmetic,
            software_version: m.software_version,
            demonstration: m.demonstration,
            base: m.base,
        })
    }
}

/// The provenance in a message field that must be there.
pub(super) fn provenance(value: Option<v1::ModelProvenance>) -> Result<ModelProvenance, ConvertError> {
    required("model", value)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            code: FindingCode::PleuralEffusion,
            presence: Presence::Present,
            laterality: Some(Laterality::Left),
            zone: None,
            severity: Some(Severity::Small),
            size_mm: Some(12.5),
            confidence: 0.9,
            evidence: vec![Evidence {
                instance: Uid::parse("1.2.3").unwrap(),
                series: Uid::parse("1.2").unwrap(),
                frame: 1,
                bounds: ImageBox::new(0.1, 0.2, 0.3, 0.4),
                confidence: 0.8,
            }],
        }
    }

    #[test]
    fn a_finding_survives_the_wire() {
        assert_eq!(Finding::try_from(v1::Finding::from(finding())), Ok(finding()));
    }

    #[test]
    fn a_finding_that_makes_no_sense_is_refused() {
        let spoilt: [fn(&mut v1::Finding); 6] = [
            |f| f.code = "dragon".into(),
            |f| f.presence = 0,
            |f| f.laterality = 99,
            |f| f.confidence = f32::NAN,
            |f| f.size_mm = Some(-1.0),
            |f| f.evidence[0].frame = 0,
        ];
        for spoil in spoilt {
            let mut message = v1::Finding::from(finding());
            spoil(&mut message);
            assert!(Finding::try_from(message).is_err());
        }
    }
}
