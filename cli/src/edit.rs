//! The file in which a reviewer changes the findings and words of a report: JSON, in the words of the published document.

use std::path::Path;

use anyhow::Context as _;
use prelim_coordinator::report::json::document::{Bounds, CodedFinding, Document, Seen};
use prelim_proto::finding::{Evidence, Finding, ImageBox, Laterality, Presence, Severity, Zone};
use prelim_proto::ids::Uid;
use prelim_proto::v1;
use prelim_proto::vocabulary::FindingCode;
use serde::{Deserialize, Serialize};

/// Longest file.
const MAX_BYTES: u64 = 8 << 20;

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The version that is reviewed.
    pub(crate) version: u32,
    /// One for each finding of that version, in its order.
    pub(crate) findings: Vec<Decided>,
    /// What was seen beside them.
    #[serde(default)]
    pub(crate) added: Vec<Added>,
    /// The impression, a sentence each; made from the findings where it is empty.
    #[serde(default)]
    pub(crate) impression: Vec<String>,
}

/// What is decided of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// It stands as it is.
    Accept,
    /// It stands, as the file has it.
    Change,
    /// It does not stand.
    Reject,
}

/// A finding of the version that is reviewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decided {
    /// What is decided.
    pub(crate) decision: Decision,
    /// The finding; counts where it is changed.
    pub(crate) finding: Option<Written>,
    /// The sentence about it; made from the finding where it is empty.
    #[serde(default)]
    pub(crate) words: String,
    /// Why.
    #[serde(default)]
    pub(crate) reason: String,
}

/// A finding that is added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    /// The finding.
    pub(crate) finding: Written,
    /// The sentence about it; made from the finding where it is empty.
    #[serde(default)]
    pub(crate) words: String,
    /// Why.
    #[serde(default)]
    pub(crate) reason: String,
}

/// A finding as a person writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    key: FindingCode,
    presence: Presence,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    laterality: Option<Laterality>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<Zone>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_mm: Option<f64>,
    #[serde(default)]
    evidence: Vec<Place>,
}

/// Where it was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    instance: Uid,
    series: Uid,
    frame: u32,
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
}

/// Reads a file.
pub(crate) fn read(file: &Path) -> anyhow::Result<Edit> {
    let name = file.display();
    let told = std::fs::metadata(file).with_context(|| format!("{name} cannot be read"))?;
    anyhow::ensure!(told.is_file(), "{name} is no file");
    let size = told.len();
    anyhow::ensure!(size <= MAX_BYTES, "{name} has {size} bytes, more than {MAX_BYTES}");
    let text = std::fs::read(file).with_context(|| format!("{name} cannot be read"))?;
    serde_json::from_slice(&text).with_context(|| {
        format!("{name} is no edit of a report; `prelim sign STUDY --template` writes one to start from")
    })
}

impl Edit {
    /// An edit that accepts every finding of the report.
    pub(crate) fn accepting(document: &Document) -> Self {
        let accepted = |finding: &CodedFinding| Decided {
            decision: Decision::Accept,
            finding: Some(Written::of(finding)),
            words: String::new(),
            reason: String::new(),
        };
        Self {
            version: document.report.version,
            findings: document.report.findings.iter().map(accepted).collect(),
            added: Vec::new(),
            impression: Vec::new(),
        }
    }

    /// The edit as a request, without study, reason and id.
    pub(crate) fn into_request(self) -> anyhow::Result<v1::SignReportRequest> {
        let decision = |(number, decided): (usize, Decided)| -> anyhow::Result<v1::FindingDecision> {
            let (decision, finding) = match (decided.decision, decided.finding) {
                // The coordinator compares it: who changed a finding and forgot to say so is told.
                (Decision::Accept, finding) => {
                    (v1::Decision::Accept, finding.map(|finding| finding.wire(number)).transpose()?)
                }
                (Decision::Reject, _) => (v1::Decision::Reject, None),
                (Decision::Change, Some(finding)) => (v1::Decision::Change, Some(finding.wire(number)?)),
                (Decision::Change, None) => {
                    anyhow::bail!("finding {number} is to be changed, and the file does not say to what")
                }
            };
            Ok(v1::FindingDecision { decision: decision as i32, finding, words: decided.words, reason: decided.reason })
        };
        let added = |(number, added): (usize, Added)| -> anyhow::Result<v1::AddedFinding> {
            let finding = Some(added.finding.wire(number)?);
            Ok(v1::AddedFinding { finding, words: added.words, reason: added.reason })
        };
        let decided = self.findings.len();
        Ok(v1::SignReportRequest {
            version: self.version,
            decisions: (1..).zip(self.findings).map(decision).collect::<anyhow::Result<_>>()?,
            added: (decided + 1..).zip(self.added).map(added).collect::<anyhow::Result<_>>()?,
            impression: self.impression,
            ..Default::default()
        })
    }
}

impl Written {
    fn of(finding: &CodedFinding) -> Self {
        let place = |seen: &Seen| Place {
            instance: seen.instance.clone(),
            series: seen.series.clone(),
            frame: seen.frame,
            bounds: seen.bounds,
        };
        Self {
            key: finding.key,
            presence: finding.presence,
            laterality: finding.laterality,
            zone: finding.zone,
            severity: finding.severity,
            size_mm: finding.size_mm,
            evidence: finding.evidence.iter().map(place).collect(),
        }
    }

    fn wire(self, number: usize) -> anyhow::Result<v1::Finding> {
        let place = |place: Place| -> anyhow::Result<Evidence> {
            let bounds = place.bounds.map(|b| {
                let edges = [b.top, b.left, b.bottom, b.right];
                let inside =
                    edges.iter().all(|edge| (0.0..=1.0).contains(edge)) && b.top <= b.bottom && b.left <= b.right;
                let found = ImageBox::new(b.top as f32, b.left as f32, b.bottom as f32, b.right as f32);
                found.filter(|_| inside).with_context(|| {
                    format!(
                        "finding {number}: the edges of a box are fractions of the image, from 0 to 1, top above bottom \
                         and left before right"
                    )
                })
            });
            Ok(Evidence {
                instance: place.instance,
                series: place.series,
                frame: place.frame,
                bounds: bounds.transpose()?,
                confidence: 1.0,
            })
        };
        let finding = Finding {
            code: self.key,
            presence: self.presence,
            laterality: self.laterality,
            zone: self.zone,
            severity: self.severity,
            size_mm: self.size_mm.map(|mm| mm as f32),
            confidence: 1.0,
            evidence: self.evidence.into_iter().map(place).collect::<anyhow::Result<_>>()?,
        };
        Ok(finding.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "version": 3,
        "findings": [
            {"decision": "accept"},
            {"decision": "change", "finding": {"key": "nodule", "presence": "present", "laterality": "left", "size_mm": 9.5,
             "evidence": [{"instance": "1.2.3", "series": "1.2", "frame": 1,
                           "box": {"top": 0.1, "left": 0.2, "bottom": 0.3, "right": 0.4}}]}},
            {"decision": "reject", "reason": "skin fold"}
        ],
        "added": [{"finding": {"key": "fracture", "presence": "uncertain"}, "words": "Perhaps a broken rib."}]
    }"#;

    #[test]
    fn a_file_becomes_a_request() {
        let request = serde_json::from_str::<Edit>(FILE).unwrap().into_request().unwrap();
        let decisions: Vec<i32> = request.decisions.iter().map(|each| each.decision).collect();
        assert_eq!((request.version, decisions), (3, vec![1, 2, 3]));
        let changed = request.decisions[1].finding.as_ref().unwrap();
        assert_eq!((changed.code.as_str(), changed.size_mm), ("nodule", Some(9.5)));
        assert_eq!(changed.evidence[0].bounds.unwrap().bottom, 0.3);
        assert_eq!(request.added[0].words, "Perhaps a broken rib.");
        assert!(request.clone().take_edit().is_ok());
    }

    #[test]
    fn what_a_file_cannot_say_is_told() {
        for (change, problem) in [
            (("\"key\": \"nodule\"", "\"key\": \"wart\""), "wart"),
            (("\"size_mm\"", "\"size\""), "unknown field `size`"),
            (("\"bottom\": 0.3", "\"bottom\": 1.3"), "fractions of the image"),
            (("\"bottom\": 0.3", "\"bottom\": 0.05"), "top above bottom"),
        ] {
            let text = FILE.replace(change.0, change.1);
            let found = serde_json::from_str::<Edit>(&text).map_err(anyhow::Error::from).and_then(Edit::into_request);
            let error = found.unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let text = r#"{"version": 1, "findings": [{"decision": "change"}]}"#;
        let error = serde_json::from_str::<Edit>(text).unwrap().into_request().unwrap_err();
        assert!(error.to_string().contains("does not say to what"), "{error}");
    }
}
