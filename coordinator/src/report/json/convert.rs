//! Between the domain's report and the published document.

use prelim_proto::finding::{Evidence, Finding, ImageBox};
use prelim_proto::report::{Inserted, ModelProvenance, Passage, Replaced, Report, Sentence};
use prelim_proto::review::{Assessment, DocumentReference, Review, Reviewer, Standing, Wording};
use prelim_proto::study::{Study, Unread};

use super::document::{
    Assessed, Body, Bounds, Code, CodedFinding, Document, InsertedWords, NotRead, Patient, Provenance, Replaces,
    Reviewed, Seen, Statement, StructuredReport, StudyIdentification, WordsFrom,
};
use super::{CONFIDENCE_DECIMALS, LENGTH_DECIMALS, SCHEMA_ID, fraction, priors, rounded};
use crate::report::{ReportError, present};

impl Document {
    /// The document of `report`, a report of `study`.
    pub fn of(report: &Report, study: &Study) -> Self {
        Self {
            schema: SCHEMA_ID.to_owned(),
            status: report.standing(),
            demonstration: present::is_demonstration(report),
            statement: report.statement.clone(),
            study: identification(study),
            review: report.review.as_ref().map(reviewed),
            report: body(report),
            provenance: report.models.iter().map(provenance).collect(),
        }
    }

    /// The report that the document holds, with its numbers as rounded. Fails where something points past the findings.
    pub fn to_report(&self) -> Result<Report, ReportError> {
        let body = &self.report;
        let findings = body.findings.len();
        for statement in body.findings_text.iter().chain(&body.impression) {
            if let Some(&index) = statement.findings.iter().find(|&&index| index as usize >= findings) {
                return Err(ReportError::FindingOutOfRange { index, findings });
            }
        }
        let changed = body.priors.iter().flat_map(|prior| &prior.changes).filter_map(|change| change.finding);
        if let Some(index) = changed.into_iter().find(|index| *index as usize >= findings) {
            return Err(ReportError::FindingOutOfRange { index, findings });
        }
        let assessed = self.review.iter().flat_map(|review| &review.assessments).filter_map(|each| each.finding);
        if let Some(index) = assessed.into_iter().find(|index| *index as usize >= findings) {
            return Err(ReportError::FindingOutOfRange { index, findings });
        }
        let inserted = body.inserted.iter().map(|words| (words.passage, words.sentence));
        let words = self.review.iter().flat_map(|review| &review.words).map(|words| (words.passage, words.sentence));
        for (passage, index) in inserted.chain(words) {
            let sentences = match passage {
                Passage::Findings => body.findings_text.len(),
                Passage::Impression => body.impression.len(),
            };
            if index as usize >= sentences {
                return Err(ReportError::SentenceOutOfRange { index, sentences });
            }
        }
        if self.review.is_none() != (self.status == Standing::Draft) {
            return Err(ReportError::Unreviewed);
        }
        Ok(Report {
            study: self.study.uid.clone(),
            version: body.version,
            replaces: body.replaces.as_ref().map(replaced_back),
            review: self.review.as_ref().map(|review| reviewed_back(review, self.status)),
            kinds: body.kinds.clone(),
            technique: body.technique.clone(),
            comparison: body.comparison.clone(),
            priors: body.priors.iter().map(priors::back).collect(),
            findings: body.findings.iter().map(finding_back).collect(),
            findings_text: body.findings_text.iter().map(sentence_back).collect(),
            impression: body.impression.iter().map(sentence_back).collect(),
            inserted: body.inserted.iter().map(inserted_back).collect(),
            urgency: body.urgency,
            unread: body.unread.iter().map(unread_back).collect(),
            partial: body.partial,
            limitations: body.limitations.clone(),
            models: self.provenance.iter().map(provenance_back).collect(),
            statement: self.statement.clone(),
        })
    }
}

fn identification(study: &Study) -> StudyIdentification {
    let known = &study.attributes;
    StudyIdentification {
        uid: study.uid.clone(),
        accession_number: known.accession_number.clone(),
        study_id: known.study_id.clone(),
        date: known.study_date.clone(),
        time: known.study_time.clone(),
        description: known.description.clone(),
        referring_physician: known.referring_physician.clone(),
        institution: known.institution.clone(),
        patient: Patient {
            id: known.patient_id.clone(),
            name: known.patient_name.clone(),
            birth_date: known.patient_birth_date.clone(),
            sex: known.patient_sex.clone(),
        },
    }
}

fn body(report: &Report) -> Body {
    Body {
        version: report.version,
        replaces: report.replaces.as_ref().map(replaces),
        urgency: report.urgency,
        partial: report.partial,
        kinds: report.kinds.clone(),
        technique: report.technique.clone(),
        comparison: report.comparison.clone(),
        priors: report.priors.iter().map(priors::document).collect(),
        findings: report.findings.iter().map(coded).collect(),
        findings_text: report.findings_text.iter().map(statement).collect(),
        impression: report.impression.iter().map(statement).collect(),
        inserted: report.inserted.iter().map(inserted).collect(),
        unread: report.unread.iter().map(not_read).collect(),
        limitations: report.limitations.clone(),
    }
}

fn replaces(replaced: &Replaced) -> Replaces {
    Replaces { version: replaced.version, digest: replaced.digest.clone(), status: replaced.standing }
}

fn replaced_back(replaces: &Replaces) -> Replaced {
    Replaced { version: replaces.version, digest: replaces.digest.clone(), standing: replaces.status }
}

fn reviewed(review: &Review) -> Reviewed {
    let assessed = |assessment: &Assessment| Assessed {
        decision: assessment.decision,
        tracking: assessment.tracking.clone(),
        before: assessment.before.as_ref().map(coded),
        finding: assessment.finding,
        reason: assessment.reason.clone(),
    };
    Reviewed {
        reviewer_id: review.reviewer.id.clone(),
        reviewer: review.reviewer.name.clone(),
        organization: review.reviewer.organization.clone(),
        at_ms: review.at_ms,
        reason: review.reason.clone(),
        document: StructuredReport {
            series: review.document.series.clone(),
            instance: review.document.instance.clone(),
        },
        assessments: review.assessments.iter().map(assessed).collect(),
        words: review.words.iter().map(words_from).collect(),
    }
}

fn reviewed_back(reviewed: &Reviewed, standing: Standing) -> Review {
    let assessment = |assessed: &Assessed| Assessment {
        decision: assessed.decision,
        tracking: assessed.tracking.clone(),
        before: assessed.before.as_ref().map(finding_back),
        finding: assessed.finding,
        reason: assessed.reason.clone(),
    };
    Review {
        standing,
        reviewer: Reviewer {
            id: reviewed.reviewer_id.clone(),
            name: reviewed.reviewer.clone(),
            organization: reviewed.organization.clone(),
        },
        at_ms: reviewed.at_ms,
        reason: reviewed.reason.clone(),
        document: DocumentReference {
            series: reviewed.document.series.clone(),
            instance: reviewed.document.instance.clone(),
        },
        assessments: reviewed.assessments.iter().map(assessment).collect(),
        words: reviewed.words.iter().map(wording).collect(),
    }
}

fn coded(finding: &Finding) -> CodedFinding {
    let concept = finding.code.concept();
    CodedFinding {
        key: finding.code,
        name: finding.code.name().to_owned(),
        concept: Code {
            value: concept.value.to_owned(),
            scheme: concept.scheme.to_owned(),
            meaning: concept.meaning.to_owned(),
        },
        presence: finding.presence,
        laterality: finding.laterality,
        zone: finding.zone,
        severity: finding.severity,
        size_mm: finding.size_mm.map(|size| rounded(size, LENGTH_DECIMALS)),
        confidence: rounded(finding.confidence, CONFIDENCE_DECIMALS),
        evidence: finding.evidence.iter().map(seen).collect(),
    }
}

fn finding_back(coded: &CodedFinding) -> Finding {
    Finding {
        code: coded.key,
        presence: coded.presence,
        laterality: coded.laterality,
        zone: coded.zone,
        severity: coded.severity,
        size_mm: coded.size_mm.map(|size| size as f32),
        confidence: coded.confidence as f32,
        evidence: coded.evidence.iter().map(evidence_back).collect(),
    }
}

fn seen(evidence: &Evidence) -> Seen {
    let bounds = |b: ImageBox| Bounds {
        top: fraction(b.top),
        left: fraction(b.left),
        bottom: fraction(b.bottom),
        right: fraction(b.right),
    };
    Seen {
        instance: evidence.instance.clone(),
        series: evidence.series.clone(),
        frame: evidence.frame,
        confidence: rounded(evidence.confidence, CONFIDENCE_DECIMALS),
        bounds: evidence.bounds.map(bounds),
    }
}

fn evidence_back(seen: &Seen) -> Evidence {
    let bounds = |b: Bounds| ImageBox::new(b.top as f32, b.left as f32, b.bottom as f32, b.right as f32);
    Evidence {
        instance: seen.instance.clone(),
        series: seen.series.clone(),
        frame: seen.frame,
        bounds: seen.bounds.and_then(bounds),
        confidence: seen.confidence as f32,
    }
}

fn statement(sentence: &Sentence) -> Statement {
    Statement { text: sentence.text.clone(), findings: sentence.findings.clone() }
}

fn sentence_back(statement: &Statement) -> Sentence {
    Sentence { text: statement.text.clone(), findings: statement.findings.clone() }
}

fn words_from(Wording { passage, sentence, origin, version, by }: &Wording) -> WordsFrom {
    WordsFrom { passage: *passage, sentence: *sentence, origin: *origin, version: *version, by: by.clone() }
}

fn wording(WordsFrom { passage, sentence, origin, version, by }: &WordsFrom) -> Wording {
    Wording { passage: *passage, sentence: *sentence, origin: *origin, version: *version, by: by.clone() }
}

fn inserted(inserted: &Inserted) -> InsertedWords {
    InsertedWords {
        passage: inserted.passage,
        sentence: inserted.sentence,
        asked: inserted.kind,
        model: inserted.model.clone(),
        adapter: inserted.adapter.clone(),
        prompt_version: inserted.prompt_version.clone(),
        demonstration: inserted.demonstration,
        answered_at_ms: inserted.answered_at_ms,
        by: inserted.by.clone(),
        at_ms: inserted.at_ms,
        changed: inserted.changed,
        by_hand: inserted.by_hand,
    }
}

fn inserted_back(words: &InsertedWords) -> Inserted {
    Inserted {
        passage: words.passage,
        sentence: words.sentence,
        kind: words.asked,
        model: words.model.clone(),
        adapter: words.adapter.clone(),
        prompt_version: words.prompt_version.clone(),
        demonstration: words.demonstration,
        answered_at_ms: words.answered_at_ms,
        by: words.by.clone(),
        at_ms: words.at_ms,
        changed: words.changed,
        by_hand: words.by_hand,
    }
}

fn not_read(unread: &Unread) -> NotRead {
    NotRead {
        instance: unread.instance.clone(),
        frame: unread.frame,
        reason: unread.reason,
        detail: unread.detail.clone(),
    }
}

fn unread_back(not_read: &NotRead) -> Unread {
    Unread {
        instance: not_read.instance.clone(),
        frame: not_read.frame,
        reason: not_read.reason,
        detail: not_read.detail.clone(),
    }
}

fn provenance(model: &ModelProvenance) -> Provenance {
    Provenance {
        model: model.name.clone(),
        model_digest: model.digest.clone(),
        prompt_version: model.prompt_version.clone(),
        preprocess_version: model.preprocess_version.clone(),
        arithmetic: model.arithmetic.clone(),
        software_version: model.software_version.clone(),
        demonstration: model.demonstration,
        base: model.base.clone(),
    }
}

fn provenance_back(provenance: &Provenance) -> ModelProvenance {
    ModelProvenance {
        name: provenance.model.clone(),
        digest: provenance.model_digest.clone(),
        prompt_version: provenance.prompt_version.clone(),
        preprocess_version: provenance.preprocess_version.clone(),
        arithmetic: provenance.arithmetic.clone(),
        software_version: provenance.software_version.clone(),
        demonstration: provenance.demonstration,
        base: provenance.base.clone(),
    }
}
