//! What a reviewer sends.

use super::{ConvertError, each, known, required};
use crate::finding::Finding;
use crate::review::{AddedFinding, Becomes, Edit, EditedFinding};
use crate::v1;

impl TryFrom<v1::FindingDecision> for EditedFinding {
    type Error = ConvertError;
    fn try_from(sent: v1::FindingDecision) -> Result<Self, ConvertError> {
        let becomes = match known::<v1::Decision>("decision", sent.decision)? {
            v1::Decision::Accept => {
                let given: Option<Finding> = sent.finding.map(TryInto::try_into).transpose()?;
                Becomes::Same(given.map(Box::new))
            }
            v1::Decision::Change => Becomes::Other(Box::new(required("finding", sent.finding)?.try_into()?)),
            v1::Decision::Reject => Becomes::Nothing,
            v1::Decision::Unspecified => return Err(ConvertError::Enum { field: "decision", value: sent.decision }),
        };
        Ok(Self { becomes, words: sent.words, reason: sent.reason })
    }
}

impl TryFrom<v1::AddedFinding> for AddedFinding {
    type Error = ConvertError;
    fn try_from(sent: v1::AddedFinding) -> Result<Self, ConvertError> {
        Ok(Self { finding: required("finding", sent.finding)?.try_into()?, words: sent.words, reason: sent.reason })
    }
}

impl v1::SignReportRequest {
    /// What the reviewer wants the report to become. It leaves the rest of the request as it is.
    pub fn take_edit(&mut self) -> Result<Edit, ConvertError> {
        Ok(Edit {
            decisions: each(std::mem::take(&mut self.decisions))?,
            added: each(std::mem::take(&mut self.added))?,
            impression: std::mem::take(&mut self.impression),
        })
    }
}
