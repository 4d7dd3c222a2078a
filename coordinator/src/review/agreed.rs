//! What a model drafted against what a radiologist made of it: of each finding of the draft whether it stands, and what stands that
//! the draft did not have. Pure. Reviews in between do not count: what was changed and changed back is as it was.

use prelim_proto::finding::Finding;
use prelim_proto::ids::Uid;
use prelim_proto::report::Report;
use prelim_proto::review::Decision;
use prelim_proto::vocabulary::FindingCode;

use super::edit::{is_same, said_words};

/// What became of one finding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Agreed {
    /// The kind of finding, as the draft has it where it does.
    pub(crate) code: FindingCode,
    /// What became of it.
    pub(crate) decision: Decision,
    /// The finding as the draft has it, and its words; none for one that was added.
    pub(crate) drafted: Option<(Finding, String)>,
    /// Index into the findings of the reviewed version, where it stands.
    pub(crate) finding: Option<u32>,
}

/// What became of the findings of `draft`, which `tracking` identifies, in `reviewed`, a version that goes back to it; then what
/// stands there beside them.
pub(super) fn agreed(draft: &Report, tracking: &[Uid], reviewed: &Report) -> Vec<Agreed> {
    let stands = |identified: &Uid| {
        let mut assessments = reviewed.review.iter().flat_map(|review| &review.assessments);
        let place = assessments.find(|each| each.tracking == *identified)?.finding?;
        Some((place, reviewed.findings.get(place as usize)?))
    };
    let of_draft = draft.findings.iter().zip(tracking).enumerate().map(|(index, (before, identified))| {
        let words = said_words(draft, index);
        let (decision, finding) = match stands(identified) {
            None => (Decision::Rejected, None),
            Some((place, now)) if is_same(before, now) && said_words(reviewed, place as usize) == words => {
                (Decision::Accepted, Some(place))
            }
            Some((place, _)) => (Decision::Changed, Some(place)),
        };
        Agreed { code: before.code, decision, drafted: Some((before.clone(), words)), finding }
    });
    let of_draft: Vec<Agreed> = of_draft.collect();
    let added = (0_u32..).zip(&reviewed.findings).filter(|(place, _)| {
        let is_it = |each: &Agreed| each.finding == Some(*place);
        !of_draft.iter().any(is_it)
    });
    let added = added.map(|(place, finding)| Agreed {
        code: finding.code,
        decision: Decision::Added,
        drafted: None,
        finding: Some(place),
    });
    let added: Vec<Agreed> = added.collect();
    of_draft.into_iter().chain(added).collect()
}

#[cfg(test)]
mod tests {
    use prelim_proto::finding::{Laterality, Presence};
    use prelim_proto::review::{Assessment, DocumentReference, Review, Reviewer, Standing};

    use super::super::inserted::tests::report;
    use super::*;
    use crate::merge;

    fn uid(n: usize) -> Uid {
        Uid::parse(&format!("1.9.{n}")).unwrap()
    }

    fn finding(code: FindingCode, side: Laterality) -> Finding {
        Finding {
            code,
            presence: Presence::Present,
            laterality: Some(side),
            zone: None,
            severity: None,
            size_mm: None,
            confidence: 0.5,
            evidence: Vec::new(),
        }
    }

    /// A report of findings, each with its number; reviewed where `rejected` numbers are given.
    fn reported(findings: &[(usize, Finding)], rejected: Option<&[usize]>) -> Report {
        let mut report = report(&[], Vec::new());
        report.findings = findings.iter().map(|(_, finding)| finding.clone()).collect();
        report.findings_text = merge::findings_text(&report.findings);
        let assessment = |n: usize, finding: Option<u32>| Assessment {
            decision: Decision::Accepted,
            tracking: uid(n),
            before: None,
            finding,
            reason: String::new(),
        };
        report.review = rejected.map(|rejected| Review {
            standing: Standing::Amended,
            reviewer: Reviewer { id: "jane".into(), name: "Doe^Jane".into(), organization: String::new() },
            at_ms: 1,
            reason: String::new(),
            document: DocumentReference { series: uid(98), instance: uid(99) },
            assessments: (0_u32..)
                .zip(findings)
                .map(|(place, (n, _))| assessment(*n, Some(place)))
                .chain(rejected.iter().map(|n| assessment(*n, None)))
                .collect(),
            words: Vec::new(),
        });
        report
    }

    #[test]
    fn what_stands_now_is_compared_with_the_draft_whatever_was_decided_in_between() {
        use Decision::{Accepted, Added, Changed, Rejected};
        use FindingCode::{Fracture, Mass, Nodule};
        use Laterality::{Left, Right};
        let (nodule, mass) = (finding(Nodule, Left), finding(Mass, Right));
        let draft = reported(&[(0, nodule.clone()), (1, mass.clone())], None);
        let told = |now: &Report| -> Vec<(FindingCode, Decision, Option<u32>)> {
            let all = agreed(&draft, &[uid(0), uid(1)], now);
            all.iter().map(|each| (each.code, each.decision, each.finding)).collect()
        };
        let moved = finding(Nodule, Right);
        let new = finding(Fracture, Left);
        for (now, want) in [
            // Accepted by a person, whose certainty is not the model's.
            (
                reported(&[(0, Finding { confidence: 1.0, ..nodule.clone() }), (1, mass.clone())], Some(&[])),
                vec![(Nodule, Accepted, Some(0)), (Mass, Accepted, Some(1))],
            ),
            // Rejected by whichever review: the newest one may not know of it any more.
            (reported(&[(1, mass.clone())], Some(&[])), vec![(Nodule, Rejected, None), (Mass, Accepted, Some(0))]),
            (reported(&[(1, mass.clone())], Some(&[0])), vec![(Nodule, Rejected, None), (Mass, Accepted, Some(0))]),
            (
                reported(&[(0, moved.clone()), (7, new.clone())], Some(&[1])),
                vec![(Nodule, Changed, Some(0)), (Mass, Rejected, None), (Fracture, Added, Some(1))],
            ),
            // A rejected draft: nothing of it stands.
            (reported(&[], Some(&[0, 1])), vec![(Nodule, Rejected, None), (Mass, Rejected, None)]),
        ] {
            assert_eq!(told(&now), want);
        }
        // In other words it is changed.
        let mut reworded = reported(&[(0, nodule), (1, mass)], Some(&[]));
        reworded.findings_text[0].text = "A roundish lesion.".into();
        assert_eq!(told(&reworded)[0].1, Changed);
    }
}
