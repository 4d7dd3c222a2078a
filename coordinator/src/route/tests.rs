//! Studies held against rules, and files that cannot be used.

use jiff::civil::{Date, date};
use prelim_proto::image::ImageAttributes;
use prelim_proto::study::{Priority, Study};

use super::*;
use crate::store::conformance::fixture::{instance, record_of};
use crate::store::record::by_series;

const TODAY: Date = date(2026, 11, 28);
const DEFAULT_RULE: CompletenessRule = CompletenessRule {
    quiet_period_ms: 60_000,
    association_grace_ms: None,
    max_wait_ms: 3_600_000,
    believes_counts: true,
    waits_for_steps: false,
};

/// The file of the documents: what people copy must be right.
fn example() -> &'static str {
    let document = include_str!("../../ROUTING.md");
    let blocks = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.into_iter().find(|block| block.contains("[[rule]]")).expect("ROUTING.md has a file of rules")
}

fn demand(key: &str) -> Demand {
    Demand::from_key(key).unwrap()
}

fn read(text: &str) -> Rules {
    Rules::parse(text, DEFAULT_RULE).unwrap()
}

/// A CT of the head of CT1, made yesterday.
fn study() -> Study {
    let mut record = record_of("1.2.3");
    record.attributes.patient_id = "4711".into();
    record.attributes.patient_name = "Doe^Jane".into();
    record.attributes.patient_birth_date = "20101129".into();
    record.attributes.study_date = "20261127".into();
    record.attributes.description = "CT Schädel nativ".into();
    record.attributes.institution = "St. Mary".into();
    record.arrival.senders.insert("CT1".into());
    let uid = record.uid.clone();
    let mut slice = instance(&uid, 1, 1);
    slice.modality = "CT".into();
    slice.description = "Kopf 1.0 Hr40".into();
    slice.instance.image = Some(ImageAttributes { body_part: Some("HEAD".into()), ..ImageAttributes::default() });
    record.into_study(by_series(vec![slice]))
}

/// What a file with these conditions says of the study, with why.
fn asked(conditions: &str, study: &Study) -> (bool, String) {
    let rules = read(&format!("[[rule]]\nname = \"r\"\n{conditions}\n[default]\n"));
    let decision = rules.decide(&Facts::of(study, TODAY));
    (decision.steps[0].takes, decision.steps[0].reasons.join("; "))
}

#[test]
fn each_condition_is_held_against_its_attribute() {
    for (conditions, takes, why) in [
        ("sender = ['ct?', 'MR*']", true, "sender: \"CT1\" fits \"ct?\""),
        ("sender = ['CT']", false, "sender: \"CT1\": none fits \"CT\""),
        ("tenant = ['default']", true, "tenant"),
        ("modality = ['DX', 'CT']", true, "\"CT\" fits \"CT\""),
        ("modality = ['DX']", false, "modality: \"CT\": none fits \"DX\""),
        ("body_part = ['HEAD', 'BRAIN']", true, "body_part"),
        ("study_description = ['*SCHÄDEL*']", true, "\"CT Schädel nativ\""),
        ("series_description = ['kopf*']", true, "series_description"),
        ("institution = ['st. mary']", true, "institution"),
        ("patient_id = ['QC*']", false, "patient_id: \"4711\""),
        ("patient_name = ['doe^*']", true, "patient_name"),
        ("study_age_from_days = 1", true, "the study is 1 day old; 1 or more is asked for"),
        ("study_age_from_days = 2", false, "2 or more"),
        ("study_age_below_days = 1", false, "less than 1"),
        ("patient_age_below_years = 16", true, "the patient is 15 years old"),
        ("patient_age_from_years = 15\npatient_age_below_years = 18", true, "15 or more, and less than 18"),
        ("patient_age_from_years = 16", false, "15 years"),
        ("quality_control = false", true, "nothing says"),
        ("quality_control = true", false, "nothing says"),
        ("modality = ['CT']\nbody_part = ['CHEST']", false, "body_part"),
    ] {
        let (took, said) = asked(conditions, &study());
        assert!(took == takes && said.contains(why), "{conditions}: {took}, {said}");
    }
    let mut silent = study();
    silent.attributes = Default::default();
    silent.intake.senders.clear();
    for (conditions, why) in [
        ("sender = ['*']", "sender: none is stated"),
        ("study_description = ['*']", "none is stated"),
        ("study_age_from_days = 0", "how old the study is, is not stated"),
        ("patient_age_below_years = 200", "how old the patient is, is not stated"),
    ] {
        assert!(!asked(conditions, &silent).0, "{conditions}");
        assert!(asked(conditions, &silent).1.contains(why), "{conditions}: {}", asked(conditions, &silent).1);
    }
}

#[test]
fn phantoms_are_known_by_what_is_written_on_them_and_patients_are_not() {
    type Change = fn(&mut Study);
    let sign = |change: Change| {
        let mut study = study();
        change(&mut study);
        Facts::of(&study, TODAY).quality_control
    };
    for (change, want) in [
        (|_| {}, None),
        (|s| s.attributes.patient_name = "PHANTOM^DAILY".into(), Some("Patient's Name has the word PHANTOM")),
        (|s| s.attributes.patient_name = "Qa^Quoc".into(), None),
        (|s| s.attributes.patient_name = "Phantomas^Jan".into(), None),
        (|s| s.attributes.patient_id = "qc-2026-11".into(), Some("Patient ID has the word QC")),
        (|s| s.attributes.patient_id = "AQC77".into(), None),
        (|s| s.attributes.description = "Daily QA".into(), Some("Study Description has the word QA")),
        (|s| s.series[0].description = "Catphan 504".into(), Some("Series Description has the word CATPHAN")),
        (
            |s| s.series[0].instances[0].image.as_mut().unwrap().quality_control_subject = true,
            Some("Quality Control Subject is YES"),
        ),
    ] as [(Change, Option<&str>); 9]
    {
        assert_eq!(sign(change).as_deref(), want);
    }
}

#[test]
fn the_first_rule_that_fits_takes_a_study_and_the_others_say_why_not() {
    let rules = read(
        "[[rule]]\nname = 'one'\nmodality = ['DX']\nskip = 'films'\n\
         [[rule]]\nname = 'two'\nmodality = ['CT']\npriority = 'stat'\ndestinations = ['er', 'pacs']\n\
         model = 'big'\nprompt = 'short'\n\
         [[rule]]\nname = 'three'\nsender = ['*']\nskip = 'never reached'\n\
         [default]\npriority = 'urgent'\ndestinations = ['pacs']\n",
    );
    let decision = rules.decide(&Facts::of(&study(), TODAY));
    let steps: Vec<_> = decision.steps.iter().map(|step| (step.rule.as_str(), step.takes)).collect();
    assert_eq!(steps, [("one", false), ("two", true)]);
    assert_eq!((decision.action.priority, decision.skipped()), (Priority::Stat, None));
    assert_eq!(
        decision.route(),
        Route { rule: "two".into(), destinations: vec!["er".into(), "pacs".into()], demand: demand("big\tshort") }
    );
    assert_eq!(rules.destinations(), ["er", "pacs"]);
    assert_eq!(rules.demands(), [&demand("big\tshort")]);

    let mut film = study();
    film.series[0].modality = "DX".into();
    let skipped = rules.decide(&Facts::of(&film, TODAY));
    assert_eq!(skipped.skipped().as_deref(), Some("rule \"one\": films"));
    assert_eq!(unread(&film, "films").len(), 1);

    let mut other = study();
    other.series[0].modality = "MR".into();
    other.intake.senders.clear();
    let fallen = rules.decide(&Facts::of(&other, TODAY));
    assert_eq!((fallen.steps.len(), fallen.route().rule.as_str()), (4, DEFAULT));
    assert_eq!(fallen.action.priority, Priority::Urgent);
    // Without a file everything is read in its turn.
    let without = Rules::default().decide(&Facts::of(&other, TODAY));
    assert_eq!(without.action, Action::default());
}

#[test]
fn the_file_of_the_readme_does_what_it_says() {
    let rules = read(example());
    let decide = |change: fn(&mut Study)| {
        let mut study = study();
        change(&mut study);
        rules.decide(&Facts::of(&study, TODAY))
    };
    let phantom = decide(|study| study.attributes.patient_id = "QA-7".into());
    assert!(phantom.skipped().is_some(), "{phantom:?}");
    let emergency = decide(|study| study.intake.senders = vec!["ER_CT2".into()]);
    assert_eq!(emergency.action.priority, Priority::Stat, "{emergency:?}");
    let old = decide(|study| study.attributes.study_date = "20200101".into());
    assert!(old.skipped().is_some(), "{old:?}");
    let head = decide(|_| {});
    assert_eq!(head.route().demand, demand("medgemma-27b\ttrauma"), "{head:?}");
    let any = decide(|study| study.series[0].modality = "DX".into());
    assert_eq!((any.route().rule.as_str(), any.skipped()), (DEFAULT, None), "{any:?}");
    let rule = rules.completeness(["ER_CT2"].into_iter(), DEFAULT_RULE);
    assert!(rule.association_grace_ms.is_some(), "{rule:?}");
    assert_eq!(rules.completeness(["CT9"].into_iter(), DEFAULT_RULE), DEFAULT_RULE);
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let rule = |more: &str| format!("[default]\n\n[[rule]]\nname = 'x'\nmodality = ['CT']\n{more}\n");
    for (text, wanted) in [
        ("", "no [default]"),
        ("[[rule]", "line 1"),
        ("[default]\npriorty = 'stat'", "line 2, column 1"),
        ("[default]\npriorty = 'stat'", "priorty"),
        (&rule("modalities = ['CT']"), "line 6, column 1"),
        (&rule("priority = 'now'"), "line 6"),
        (&rule("sender = 'CT1'"), "expected a sequence"),
        (&rule("sender = []"), "line 3, rule \"x\": sender: an empty text"),
        (&rule("skip = ''"), "line 3, rule \"x\": skip"),
        (&rule("skip = 'no'\npriority = 'stat'"), "what is not read has no priority, destinations"),
        (&rule("destinations = ['the pacs']"), "\"the pacs\" is no name"),
        (&rule("model = ''"), "model: not the name of a model"),
        (&rule("prompt = 'a b'"), "line 3, rule \"x\": prompt: not the name of a prompt"),
        (&rule("skip = 'no'\nmodel = 'm'"), "what is not read has no priority, destinations, model or prompt"),
        (&rule("study_age_from_days = 9\nstudy_age_below_days = 9"), "study_age_below_days"),
        (&rule("[[rule]]\nname = 'x'\nmodality = ['CT']"), "line 6, rule \"x\": name: another rule has it"),
        ("[default]\n[[rule]]\nname = 'x'\nskip = 'all'", "a rule without conditions"),
        ("[default]\n[[rule]]\nname = 'default'\nmodality = ['CT']", "choose another"),
        ("[default]\n[[rule]]\nmodality = ['CT']", "rule 1: name"),
        ("[default]\n[[completeness]]\nquiet_period_ms = 9000", "missing field `sender`"),
        ("[default]\n[[completeness]]\nsender = 'CT*'\nquiet_period_ms = 9", "line 2, [[completeness]] of \"CT*\""),
        ("[default]\n[[completeness]]\nsender = 'CT*'\nmax_wait_ms = 9000", "max_wait_ms 9000"),
    ] {
        let error = Rules::parse(text, DEFAULT_RULE).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text:?}: {error}");
    }
    assert!(matches!(Rules::parse(&" ".repeat(2 << 20), DEFAULT_RULE), Err(RulesError::TooLarge(_))));
}

#[test]
fn earlier_studies_are_looked_at_as_the_file_says() {
    let of = |text: &str| Rules::parse(&format!("{text}\n[default]\n"), DEFAULT_RULE);
    assert_eq!(of("").unwrap().priors, PriorRules { most: 3, years: 5, source: None });
    let document = include_str!("../../ROUTING.md").split("```toml\n").find(|block| block.starts_with("[priors]"));
    let documented =
        of(document.and_then(|block| block.split("```").next()).expect("ROUTING.md has an example")).unwrap();
    assert_eq!(documented.priors, PriorRules { source: Some("pacs".into()), ..PriorRules::default() });
    let asked = of("[priors]\nmost = 1\nsource = 'pacs'").unwrap().priors;
    assert_eq!(asked, PriorRules { most: 1, years: 5, source: Some("pacs".into()) });
    for (text, says) in [
        ("[priors]\nmost = 11", "line 1, [priors]: most: 11 is more than 10"),
        ("[priors]\nyears = 0", "years: 0 is not between 1 and 150; most = 0 turns it off"),
        ("[priors]\nsource = 'a b'", "source: \"a b\" is no name"),
        ("[priors]\nfrom = 'a'", "unknown field"),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
