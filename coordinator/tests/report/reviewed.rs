//! Reports that a radiologist signed, amended or rejected: every form says who answers for them, and a draft never does.

use std::collections::BTreeSet;

use prelim_coordinator::report::{Format, json, present};
use prelim_proto::finding::{Finding, Presence};
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::question::QuestionKind;
use prelim_proto::report::{Inserted, Passage, Replaced};
use prelim_proto::review::{Assessment, Decision, DocumentReference, Origin, Review, Reviewer, Standing, Wording};
use prelim_proto::study::StudyState;
use serde_json::Value;

use crate::samples::{self, Sample};
use crate::{fhir, hl7, pdf, tools};

/// 2026-11-28, 09:30:00 UTC.
const AT_MS: i64 = 1_795_858_200_000;

/// A sample as it is after a review: its first finding rejected, its last changed, one added; or the whole rejected.
fn reviewed(mut sample: Sample, standing: Standing) -> Sample {
    let before = sample.report.findings.clone();
    let mut tracking = tracked(&sample.text(Format::Fhir)).into_iter();
    let mut assessments: Vec<Assessment> = Vec::new();
    let mut after: Vec<Finding> = Vec::new();
    for (index, finding) in before.iter().enumerate() {
        let (decision, becomes) = match (standing, index) {
            (Standing::Rejected, _) | (_, 0) => (Decision::Rejected, None),
            (_, index) if index + 1 == before.len() => {
                (Decision::Changed, Some(Finding { presence: Presence::Uncertain, confidence: 1.0, ..finding.clone() }))
            }
            _ => (Decision::Accepted, Some(finding.clone())),
        };
        let finding_now = becomes.as_ref().map(|_| after.len() as u32);
        after.extend(becomes);
        let reason = if decision == Decision::Rejected { "A skin fold".to_owned() } else { String::new() };
        let tracking = tracking.next().unwrap();
        assessments.push(Assessment {
            decision,
            tracking,
            before: Some(finding.clone()),
            finding: finding_now,
            reason,
        });
    }
    if standing.is_signed() {
        let mut added = before[0].clone();
        added.confidence = 1.0;
        assessments.push(Assessment {
            decision: Decision::Added,
            tracking: Uid::parse("2.25.77").unwrap(),
            before: None,
            finding: Some(after.len() as u32),
            reason: String::new(),
        });
        after.push(added);
    }
    let report = &mut sample.report;
    report.findings = after;
    report.findings_text = Vec::new();
    report.impression.iter_mut().for_each(|sentence| sentence.findings.clear());
    report.priors.iter_mut().for_each(|prior| prior.changes.clear());
    report.version = 2;
    report.replaces =
        Some(Replaced { version: 1, digest: Digest::from_bytes(&[9; 32]), standing: Standing::default() });
    let review = Review {
        standing,
        reviewer: Reviewer {
            id: "reader-7".to_owned(),
            name: "Röntgen^Wilhelm^^Dr.".to_owned(),
            organization: "St. Mary".to_owned(),
        },
        at_ms: AT_MS,
        reason: if standing == Standing::Signed { String::new() } else { "Seen again".to_owned() },
        document: DocumentReference {
            series: Uid::parse("1.2.3.4").unwrap(),
            instance: Uid::parse("1.2.3.4.5").unwrap(),
        },
        assessments,
        words: Vec::new(),
    };
    report.statement = present::statement(&review);
    report.review = Some(review);
    sample
}

/// Tracking Unique Identifiers of the findings of a draft, from its Observations.
fn tracked(bundle: &str) -> Vec<Uid> {
    let bundle: Value = serde_json::from_str(bundle).unwrap();
    let uid = |observation: &Value| {
        let uid = observation["identifier"][0]["value"].as_str().unwrap().to_owned();
        Uid::parse(uid.trim_start_matches("urn:oid:")).unwrap()
    };
    fhir::resources(&bundle, "Observation").into_iter().map(uid).collect()
}

/// Every standing of three samples.
fn all() -> Vec<(Standing, Sample)> {
    let drafts = [samples::chest_xray, samples::chest_ct, samples::hostile];
    let standings = [Standing::Signed, Standing::Amended, Standing::Rejected];
    standings.into_iter().flat_map(|standing| drafts.map(|draft| (standing, reviewed(draft(), standing)))).collect()
}

#[test]
fn every_form_says_who_answers_for_it_and_none_calls_it_unsigned() {
    for (standing, sample) in all() {
        for format in Format::ALL {
            let Some(bytes) = sample.written(format) else { continue };
            assert!(bytes == sample.write(format), "{format} is a pure function");
            let text = match format {
                Format::Pdf => pdf::text(&sample),
                _ => String::from_utf8_lossy(&bytes).into_owned(),
            };
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let context = format!("{format} of {} {standing:?}", sample.name);
            assert!(!text.to_uppercase().contains("UNSIGNED"), "{context}");
            assert!(text.contains("not a medical device"), "{context}");
            assert!(text.contains("Röntgen") || text.contains("R\\u00f6ntgen"), "{context}: {text}");
            let word = if standing == Standing::Rejected { "rejected" } else { "signed" };
            assert!(text.to_lowercase().contains(word), "{context}");
            let demonstration =
                text.to_uppercase().contains("DEMONSTRATION MODEL") || text.contains("\"demonstration\": true");
            assert_eq!(demonstration, sample.demonstration(), "{context}");
        }
    }
}

#[test]
fn a_draft_of_a_study_that_was_signed_since_is_a_draft() {
    for state in [StudyState::Signed, StudyState::Amended, StudyState::Rejected] {
        let (draft, mut later) = (samples::chest_xray(), samples::chest_xray());
        later.study.state = state;
        for format in Format::ALL {
            assert!(draft.written(format) == later.written(format), "{format} looks at the study's state {state:?}");
        }
    }
}

#[test]
fn a_signed_report_says_nothing_of_the_models_confidence() {
    let sample = reviewed(samples::chest_xray(), Standing::Signed);
    for format in [Format::Text, Format::Html, Format::Fhir, Format::Hl7, Format::Sr] {
        let text = String::from_utf8_lossy(&sample.write(format)).to_lowercase();
        // The stylesheet is one for drafts and reports.
        let text = text.split_once("</style>").map_or(&*text, |(_, page)| page);
        assert!(!text.contains("confidence") && !text.contains("certainty of finding"), "{format}: {text}");
    }
    // What the model said is in the assessment.
    let assessment = String::from_utf8_lossy(&sample.write(Format::Assessment)).into_owned();
    assert!(assessment.contains("Certainty of Finding"), "{assessment}");
}

#[test]
fn objects_are_verified_once_signed_and_pass_the_validators() {
    for (standing, sample) in all() {
        for (format, iod) in [
            (Format::Sr, "Comprehensive3DSR"),
            (Format::Assessment, "Comprehensive3DSR"),
            (Format::DicomPdf, "EncapsulatedPDF"),
            (Format::Capture, "MultiframeTrueColorSCImage"),
            (Format::KeyObjects, "KeyObjectSelectionDocument"),
            (Format::Presentation, "GrayscaleSoftcopyPresentationState"),
        ] {
            if sample.written(format).is_some() {
                tools::dciodvfy(&sample, format, iod);
            }
        }
        let file = tools::written(&sample, Format::Sr);
        let printed = tools::run("dsrdump", &["+Pl", "+Pc"], file.path());
        let flags = match standing {
            Standing::Rejected => ["Partial", "Unverified", "Preliminary"],
            _ => ["Complete", "Verified", "Final"],
        };
        for flag in flags {
            assert!(printed.to_lowercase().contains(&flag.to_lowercase()), "{flag}: {printed}");
        }
        if standing.is_signed() {
            assert!(printed.contains("Röntgen^Wilhelm^^Dr.") && printed.contains("St. Mary"), "{printed}");
            assert!(!printed.contains("UNVERIFIED") && !printed.contains("PRELIMINARY"), "{printed}");
        }
        let warned = |line: &&str| (line.starts_with("W: ") && !line.contains("ISO_IR 192")) || line.starts_with("E: ");
        assert_eq!(printed.lines().filter(warned).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[test]
fn an_assessment_tells_what_was_decided_of_each_finding() {
    let draft = samples::chest_xray();
    let sample = reviewed(samples::chest_xray(), Standing::Signed);
    let file = tools::written(&sample, Format::Assessment);
    let printed = tools::run("dsrdump", &["+Pl", "+Pc"], file.path());
    let decided = |word: &str| printed.matches(&format!("({word},99PRELIM,")).count();
    assert_eq!(
        [decided("accepted"), decided("changed"), decided("rejected"), decided("added")],
        [draft.report.findings.len() - 2, 1, 1, 1],
        "{printed}"
    );
    assert!(printed.contains("A skin fold"), "{printed}");
    let bytes = sample.write(Format::Assessment);
    assert!(bytes.windows(9).any(|window| window == b"1.2.3.4.5"), "the document that was reviewed");
    // Findings are tracked by what the draft called them.
    let drafted = tools::written(&draft, Format::Sr);
    let drafted = tools::run("dsrdump", &["+Pl", "+Pc"], drafted.path());
    let tracked = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.contains("Tracking Unique Identifier"));
        lines.filter_map(|line| Some(line.split('"').rev().nth(1)?.to_owned())).collect()
    };
    let mut expected = tracked(&drafted);
    expected.insert("2.25.77".to_owned());
    assert_eq!(tracked(&printed), expected, "{printed}\n{drafted}");
    // In the report that was signed, too.
    let signed = tools::written(&sample, Format::Sr);
    let signed = tracked(&tools::run("dsrdump", &["+Pl", "+Pc"], signed.path()));
    assert!(signed.is_subset(&expected) && signed.len() == sample.report.findings.len(), "{signed:?}");
}

#[test]
fn messages_and_resources_have_the_status_of_the_version() {
    for (standing, sample) in all() {
        let (status, flag) = match standing {
            Standing::Signed => ("final", "F"),
            Standing::Amended => ("amended", "C"),
            Standing::Rejected => ("cancelled", "X"),
            Standing::Draft => ("preliminary", "P"),
        };
        let bundle = fhir::bundle(&sample);
        let reports = fhir::resources(&bundle, "DiagnosticReport");
        assert_eq!(reports[0]["status"], status);
        assert_eq!(reports[0]["issued"], "2026-11-28T09:30:00.000Z");
        // What was rejected was said before, and is not so.
        let review = sample.report.review.as_ref().unwrap();
        let rejected = review.assessments.iter().filter(|each| each.decision == Decision::Rejected).count();
        let observations = fhir::resources(&bundle, "Observation");
        let with = |status: &str| observations.iter().filter(|each| each["status"] == status).count();
        assert_eq!((with(status), with("entered-in-error")), (sample.report.findings.len(), rejected));
        let practitioner = fhir::resources(&bundle, "Practitioner");
        assert_eq!(practitioner[0]["name"][0]["family"], "Röntgen");
        assert_eq!(practitioner[0]["identifier"][0]["value"], "reader-7");
        fhir::validate(&sample);
        let read = hl7::segments(&sample);
        assert_eq!(hl7::named(&read, "OBR")[0]["OBR_25"], flag);
        assert_eq!(hl7::named(&read, "OBR")[0]["OBR_22"], "20261128093000+0000");
        for result in hl7::named(&read, "OBX") {
            assert_eq!(result["OBX_11"], flag);
            assert_eq!(result["OBX_16"], "reader-7^Röntgen^Wilhelm^^^Dr.");
        }
    }
}

#[test]
fn the_document_reads_back_and_follows_its_schema() {
    let schema: Value = serde_json::from_str(&json::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (standing, mut sample) in all() {
        let bytes = sample.write(Format::Json);
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let problems: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{standing:?}: {problems:#?}");
        let back = json::parse(&bytes).unwrap().to_report().unwrap();
        assert_eq!(back.standing(), standing);
        sample.report = back;
        assert_eq!(sample.write(Format::Json), bytes, "{} {standing:?}", sample.name);
    }
    // A status without its review, and a review without its status.
    let text = reviewed(samples::chest_xray(), Standing::Signed).text(Format::Json);
    let unsigned = text.replace("\"status\": \"signed\"", "\"status\": \"unsigned_draft\"");
    assert!(json::parse(unsigned.as_bytes()).unwrap().to_report().is_err());
    let text = samples::chest_xray().text(Format::Json);
    let signed = text.replacen("\"status\": \"unsigned_draft\"", "\"status\": \"signed\"", 1);
    assert!(json::parse(signed.as_bytes()).unwrap().to_report().is_err());
}

/// Promise: what is recorded of a review says of each sentence where its words are from.
#[test]
fn an_assessment_tells_where_the_words_of_each_sentence_are_from() {
    let mut sample = reviewed(samples::chest_xray(), Standing::Signed);
    let by = "Röntgen^Wilhelm^^Dr.";
    let wording = |(sentence, (origin, by)): (u32, (Origin, &str))| Wording {
        passage: Passage::Impression,
        sentence,
        origin,
        version: 2,
        by: by.to_owned(),
    };
    let words: Vec<Wording> = (0..).zip([(Origin::Draft, ""), (Origin::Person, by)]).map(wording).collect();
    sample.report.review.as_mut().unwrap().words.clone_from(&words);
    let file = tools::written(&sample, Format::Assessment);
    let dumped = tools::run("dsrdump", &["+Pl", "+Pc"], file.path());
    let second = sample.report.impression[1].text.clone();
    for wanted in
        ["Sentence of the report", "Of the draft", "Typed or pasted by a person", "Röntgen, Dr. Wilhelm", &second]
    {
        assert!(dumped.contains(wanted), "{wanted}: {dumped}");
    }
    let wanted = ["Words as drafted: impression 1", "Words typed or pasted by Röntgen, Dr. Wilhelm: impression 2"];
    for (format, text) in [
        (Format::Html, sample.text(Format::Html)),
        (Format::Text, sample.text(Format::Text)),
        (Format::Pdf, pdf::text(&sample)),
    ] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(wanted.iter().all(|line| text.contains(line)), "{format}: {text}");
    }
    let back = json::parse(&sample.write(Format::Json)).unwrap().to_report().unwrap();
    assert_eq!(back.review.unwrap().words, words);
    sample.report.review.as_mut().unwrap().words[0].sentence = 9;
    assert!(json::parse(&sample.write(Format::Json)).unwrap().to_report().is_err());
}

/// Promise: words of a model's answer that a person took into a report are told apart from the person's in every form of it.
#[test]
fn every_form_says_which_words_are_a_models_answer() {
    let plain = reviewed(samples::chest_xray(), Standing::Signed);
    let mut sample = reviewed(samples::chest_xray(), Standing::Signed);
    sample.report.inserted = vec![Inserted {
        passage: Passage::Impression,
        sentence: 1,
        kind: QuestionKind::Question,
        model: "talking-model".to_owned(),
        adapter: Some("answers-1".to_owned()),
        prompt_version: "ask-3".to_owned(),
        demonstration: false,
        answered_at_ms: AT_MS - 120_000,
        by: "Röntgen^Wilhelm^^Dr.".to_owned(),
        at_ms: AT_MS - 60_000,
        changed: true,
        by_hand: false,
    }];
    let wanted = "Sentence 2 of the impression has words of a model's answer to a question, of 2026-11-28 09:28 UTC by \
        talking-model with answers-1, prompt ask-3; inserted and changed by Röntgen, Dr. Wilhelm on 2026-11-28 09:29 UTC";
    let said = |sample: &Sample, format: Format| {
        let text = match format {
            Format::Pdf => pdf::text(sample),
            Format::Html => sample.text(format).replace("&#39;", "'"),
            Format::Sr => {
                let file = tools::written(sample, format);
                tools::run("dsrdump", &["+Pl", "+Pc"], file.path())
            }
            Format::Hl7 => sample.text(format).replace("\r", " "),
            _ => sample.text(format),
        };
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for format in [Format::Html, Format::Text, Format::Pdf, Format::Sr, Format::Fhir, Format::Hl7] {
        let text = said(&sample, format);
        // HL7 has a long line in parts, each an observation of its own.
        let parts = if format == Format::Hl7 { wanted.split_once(" on 2026") } else { Some((wanted, wanted)) };
        assert!(parts.is_some_and(|(a, b)| text.contains(a) && text.contains(b)), "{format}: {text}");
        assert!(!said(&plain, format).contains("model's answer"), "{format}");
    }
    let document: Value = serde_json::from_slice(&sample.write(Format::Json)).unwrap();
    let inserted = &document["report"]["inserted"][0];
    assert_eq!(
        (&inserted["sentence"], &inserted["asked"], &inserted["model"]),
        (&1.into(), &"question".into(), &"talking-model".into())
    );
    assert_eq!(json::parse(&sample.write(Format::Json)).unwrap().to_report().unwrap().inserted, sample.report.inserted);
    // It points at a sentence, and it is told where a demonstration spoke.
    sample.report.models.iter_mut().for_each(|model| model.demonstration = false);
    assert!(!sample.text(Format::Text).contains("DEMONSTRATION MODEL"));
    sample.report.inserted[0].demonstration = true;
    assert!(sample.text(Format::Text).contains("DEMONSTRATION MODEL"));
    sample.report.inserted[0].sentence = 9;
    assert!(json::parse(&sample.write(Format::Json)).unwrap().to_report().is_err());
}
