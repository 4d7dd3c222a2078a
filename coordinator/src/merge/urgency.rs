//! How soon a person should look.

use prelim_proto::finding::{Finding, Presence, Severity};
use prelim_proto::report::Urgency;
use prelim_proto::vocabulary::FindingCode;

/// The urgency of a study: that of its most urgent finding.
pub(super) fn of_all(findings: &[Finding]) -> Urgency {
    findings.iter().map(of).max().unwrap_or(Urgency::Routine)
}

/// The urgency of a finding. A possible one is as urgent as a sure one: a person decides.
///
/// Air in the pleural space is urgent and, when there is much of it, critical. What fills much of a lung or the space
/// around it is urgent. The rest waits its turn.
pub(crate) fn of(finding: &Finding) -> Urgency {
    if finding.presence == Presence::Absent {
        return Urgency::Routine;
    }
    let much = matches!(finding.severity, Some(Severity::Large | Severity::Severe));
    match finding.code {
        FindingCode::Pneumothorax if much => Urgency::Critical,
        FindingCode::Pneumothorax => Urgency::Urgent,
        FindingCode::PleuralEffusion
        | FindingCode::Consolidation
        | FindingCode::InterstitialEdema
        | FindingCode::Atelectasis
            if much =>
        {
            Urgency::Urgent
        }
        _ => Urgency::Routine,
    }
}
