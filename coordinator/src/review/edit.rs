//! A draft and what a reviewer wants of it, to the report that is signed. Pure: words are made from the findings where the
//! reviewer gave none, so that words and structure cannot disagree.

use prelim_proto::finding::{Finding, Laterality, Presence};
use prelim_proto::ids::Uid;
use prelim_proto::report::{Report, Sentence};
use prelim_proto::review::{Assessment, Becomes, Decision, Edit};
use prelim_proto::study::Study;
use prelim_proto::vocabulary::FindingCode;

use crate::merge;

/// Longest text, in characters.
pub(crate) const MAX_TEXT: usize = 2_000;
/// Findings of a report.
const MAX_FINDINGS: usize = 256;
/// Images that a finding may name.
const MAX_EVIDENCE: usize = 256;
/// Sentences of an impression.
const MAX_SENTENCES: usize = 100;
/// Longest extent of a finding, in mm: a chest's.
pub(crate) const MAX_SIZE_MM: f32 = 500.0;

/// Why an edit cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// Not every finding is decided, or more than there are.
    #[error("{sent} decisions for {findings} findings: each finding of the version is to be decided, in its order")]
    Undecided {
        /// Decisions sent.
        sent: usize,
        /// Findings of the version.
        findings: usize,
    },
    /// A finding is rejected without a reason.
    #[error("finding {0} is rejected without a reason")]
    NoReason(usize),
    /// A finding is accepted as it is, and was changed.
    #[error("finding {0} is accepted, and is not as the report has it: say that it is changed")]
    Differs(usize),
    /// What is not there has properties.
    #[error("{0} is said to be absent, and has a severity, a size or a place on an image: leave those out")]
    Absent(String),
    /// Too many of something.
    #[error("{found} {what}, more than {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A text that cannot be.
    #[error("a text of {what} {problem}")]
    Text {
        /// Whose.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A number that cannot be.
    #[error("the size of {0} is not above 0 and at most {MAX_SIZE_MM} mm")]
    Size(String),
    /// What is found has no such property.
    #[error("{what} is a {}, which has no {property}: leave that out", .code.name())]
    Unfit {
        /// Which finding.
        what: String,
        /// What is found.
        code: FindingCode,
        /// What it cannot have.
        property: &'static str,
    },
    /// Evidence on what is no image of the study.
    #[error("{what} is said to be seen on {problem}")]
    Evidence {
        /// Which finding.
        what: String,
        /// On what.
        problem: String,
    },
}

/// What an edit makes of a report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edited {
    /// The findings, in the order of reports.
    pub(crate) findings: Vec<Finding>,
    /// A sentence for each of them.
    pub(crate) findings_text: Vec<Sentence>,
    /// The impression.
    pub(crate) impression: Vec<Sentence>,
    /// What was decided, in the order of the findings before, then what was added.
    pub(crate) assessments: Vec<Assessment>,
    /// Whether the findings are others than before; their words alone do not count.
    pub(crate) is_changed: bool,
}

/// Applies `edit` to `report` of `study`. `tracking` identifies the findings that are there, then those that are added.
pub(crate) fn apply(report: &Report, tracking: &[Uid], study: &Study, edit: &Edit) -> Result<Edited, EditError> {
    if edit.decisions.len() != report.findings.len() {
        return Err(EditError::Undecided { sent: edit.decisions.len(), findings: report.findings.len() });
    }
    at_most("findings", edit.decisions.len() + edit.added.len(), MAX_FINDINGS)?;
    at_most("sentences of the impression", edit.impression.len(), MAX_SENTENCES)?;
    // Each finding that stands, with its sentence and the place of its assessment.
    let mut standing: Vec<(Finding, String, usize)> = Vec::new();
    let mut assessments: Vec<Assessment> = Vec::new();
    let mut is_changed = !edit.added.is_empty();
    for (index, (before, wanted)) in report.findings.iter().zip(&edit.decisions).enumerate() {
        let what = format!("finding {}", index + 1);
        let (reason, words) = (text(&what, &wanted.reason)?, text(&what, &wanted.words)?);
        let (decision, after) = match &wanted.becomes {
            Becomes::Same(Some(given)) if !is_same(before, given) => return Err(EditError::Differs(index + 1)),
            Becomes::Same(_) => said_of(before, own_words(report, index), &words),
            Becomes::Other(after) => {
                let after = by_a_person(&what, after, study)?;
                if is_same(before, &after) {
                    said_of(before, own_words(report, index), &words)
                } else {
                    is_changed = true;
                    (Decision::Changed, Some((after, None)))
                }
            }
            Becomes::Nothing if reason.is_empty() => return Err(EditError::NoReason(index + 1)),
            Becomes::Nothing => {
                is_changed = true;
                (Decision::Rejected, None)
            }
        };
        if let Some((finding, own)) = after {
            let words = if words.is_empty() { own.unwrap_or_default() } else { words };
            standing.push((finding, words, assessments.len()));
        }
        let (before, tracking) = (Some(before.clone()), tracking[index].clone());
        assessments.push(Assessment { decision, tracking, before, finding: None, reason });
    }
    for (index, added) in edit.added.iter().enumerate() {
        let what = format!("added finding {}", index + 1);
        let (reason, words) = (text(&what, &added.reason)?, text(&what, &added.words)?);
        if added.finding.evidence.iter().filter_map(|each| each.bounds).any(|bounds| bounds.area() <= 0.0) {
            return Err(EditError::Evidence { what, problem: "a box without an area".to_owned() });
        }
        standing.push((by_a_person(&what, &added.finding, study)?, words, assessments.len()));
        let tracking = tracking[report.findings.len() + index].clone();
        assessments.push(Assessment { decision: Decision::Added, tracking, before: None, finding: None, reason });
    }
    standing.sort_by_key(|(finding, ..)| order(finding));
    for (index, (_, _, assessment)) in (0_u32..).zip(&standing) {
        assessments[*assessment].finding = Some(index);
    }
    let findings: Vec<Finding> = standing.iter().map(|(finding, ..)| finding.clone()).collect();
    let mut findings_text = merge::findings_text(&findings);
    for (sentence, (_, words, _)) in findings_text.iter_mut().zip(&standing) {
        if !words.is_empty() {
            sentence.text.clone_from(words);
        }
    }
    let written = |words: &String| Ok(Sentence { text: text("the impression", words)?, findings: Vec::new() });
    let mut own: Vec<Sentence> = edit.impression.iter().map(written).collect::<Result<_, EditError>>()?;
    own.retain(|sentence| !sentence.text.is_empty());
    let impression = match (own.is_empty(), is_changed) {
        (false, _) => own,
        (true, true) => merge::impression(&findings, report.partial),
        (true, false) => report.impression.clone(),
    };
    Ok(Edited { findings, findings_text, impression, assessments, is_changed })
}

/// What becomes of the findings of a draft that is rejected: none stands.
pub(crate) fn reject(report: &Report, tracking: &[Uid]) -> Vec<Assessment> {
    let rejected = |(before, tracking): (&Finding, &Uid)| Assessment {
        decision: Decision::Rejected,
        tracking: tracking.clone(),
        before: Some(before.clone()),
        finding: None,
        reason: String::new(),
    };
    report.findings.iter().zip(tracking).map(rejected).collect()
}

/// A text on one line, without what is no character.
pub(crate) fn text(what: &str, words: &str) -> Result<String, EditError> {
    let words = words.trim();
    let wrong = |problem: String| EditError::Text { what: what.to_owned(), problem };
    let length = words.chars().count();
    if length > MAX_TEXT {
        return Err(wrong(format!("has {length} characters, more than {MAX_TEXT}")));
    }
    match words.chars().find(|c| c.is_control()) {
        Some(c) => Err(wrong(format!("has the control character U+{:04X}: a sentence is one line", u32::from(c)))),
        None => Ok(words.to_owned()),
    }
}

/// A finding that stays as it is: accepted, or changed where a person puts it in other words. The model said nothing of those.
fn said_of(before: &Finding, own: Option<String>, words: &str) -> (Decision, Option<(Finding, Option<String>)>) {
    let own = own.or_else(|| made_words(before));
    if words.is_empty() || own.as_deref() == Some(words) {
        return (Decision::Accepted, Some((before.clone(), own)));
    }
    let mut finding = before.clone();
    of_nobody(&mut finding);
    (Decision::Changed, Some((finding, own)))
}

/// No model's estimate stands with what a person says.
fn of_nobody(finding: &mut Finding) {
    finding.confidence = 1.0;
    finding.evidence.iter_mut().for_each(|evidence| evidence.confidence = 1.0);
}

/// The sentence that speaks of that finding and no other.
fn own_words(report: &Report, index: usize) -> Option<String> {
    let is_own = |sentence: &&Sentence| sentence.findings.iter().map(|index| *index as usize).eq([index]);
    report.findings_text.iter().find(is_own).map(|sentence| sentence.text.clone())
}

/// The words that software makes of one finding.
fn made_words(finding: &Finding) -> Option<String> {
    merge::findings_text(std::slice::from_ref(finding)).into_iter().next().map(|sentence| sentence.text)
}

/// What a report says of that finding, in its own sentence or else as software would say it.
pub(super) fn said_words(report: &Report, index: usize) -> String {
    let made = || report.findings.get(index).and_then(made_words);
    own_words(report, index).or_else(made).unwrap_or_default()
}

/// A finding as a person says it: checked, and with nobody's estimate of how likely it is.
fn by_a_person(what: &str, finding: &Finding, study: &Study) -> Result<Finding, EditError> {
    if finding.size_mm.is_some_and(|mm| !(mm > 0.0 && mm <= MAX_SIZE_MM)) {
        return Err(EditError::Size(what.to_owned()));
    }
    let is_somewhere = finding.severity.is_some() || finding.size_mm.is_some() || !finding.evidence.is_empty();
    if finding.presence == Presence::Absent && is_somewhere {
        return Err(EditError::Absent(what.to_owned()));
    }
    if let Some(property) = unfit(finding) {
        return Err(EditError::Unfit { what: what.to_owned(), code: finding.code, property });
    }
    at_most("images of a finding", finding.evidence.len(), MAX_EVIDENCE)?;
    let mut finding = finding.clone();
    of_nobody(&mut finding);
    for evidence in &finding.evidence {
        let series = study.series.iter().find(|series| series.uid == evidence.series);
        let instances = series.into_iter().flat_map(|series| &series.instances);
        let instance = instances.into_iter().find(|instance| instance.uid == evidence.instance);
        let frames = instance.and_then(|instance| instance.image.as_ref()).map(|image| image.frames.max(1));
        let problem = match frames {
            None => format!("{}, which is no image of series {} of the study", evidence.instance, evidence.series),
            Some(frames) if evidence.frame > frames => format!("frame {} of {frames}", evidence.frame),
            Some(_) => continue,
        };
        return Err(EditError::Evidence { what: what.to_owned(), problem });
    }
    Ok(finding)
}

/// What is said of a finding that things of its kind do not have: devices are there or not, and a heart has no side.
fn unfit(finding: &Finding) -> Option<&'static str> {
    let is_device = matches!(finding.code, FindingCode::Pacemaker | FindingCode::EndotrachealTube);
    let is_heart = finding.code == FindingCode::Cardiomegaly;
    let has_no_side = match finding.laterality {
        Some(Laterality::Bilateral) if finding.code == FindingCode::Pacemaker => true,
        side => side.is_some() && (is_heart || finding.code == FindingCode::EndotrachealTube),
    };
    [
        ("severity", is_device && finding.severity.is_some()),
        ("size", is_device && finding.size_mm.is_some()),
        ("part of the lung", (is_device || is_heart) && finding.zone.is_some()),
        ("such side", has_no_side),
    ]
    .into_iter()
    .find_map(|(property, is_wrong)| is_wrong.then_some(property))
}

/// Whether two findings say the same, whoever says it.
pub(super) fn is_same(before: &Finding, after: &Finding) -> bool {
    let said = |finding: &Finding| {
        let places: Vec<_> =
            finding.evidence.iter().map(|each| (each.instance.clone(), each.frame, each.bounds)).collect();
        let Finding { code, presence, laterality, zone, severity, size_mm, .. } = *finding;
        ((code, presence, laterality), (zone, severity, size_mm), places)
    };
    said(before) == said(after)
}

/// The order of findings in reports: the vocabulary's, then by side.
fn order(finding: &Finding) -> (usize, usize) {
    let code = FindingCode::ALL.iter().position(|code| *code == finding.code).unwrap_or(usize::MAX);
    (code, finding.laterality.map_or(0, |side| side as usize + 1))
}

fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), EditError> {
    if found > max { Err(EditError::TooMany { what, found, max }) } else { Ok(()) }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
