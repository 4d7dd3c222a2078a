//! The file of rules, as a site writes it.

use std::collections::BTreeSet;
use std::ops::Range;

use prelim_proto::demand::{Demand, ModelName, PromptName};
use prelim_proto::ids::IdError;
use prelim_proto::study::Priority;
use serde::Deserialize;
use toml::Spanned;

use super::condition::{Attribute, Condition, Pattern};
use super::{Action, DEFAULT, Rule, Rules};
use crate::intake::complete::{CompletenessRule, Overrides};
use crate::priors::PriorRules;

/// Largest file, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Most rules: every study is held against them.
const MAX_RULES: usize = 1_000;
/// Longest name of a rule or destination, in characters.
const MAX_NAME: usize = 64;
/// Longest reason, in characters.
const MAX_REASON: usize = 200;

/// Why a file of rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// It is no TOML, or has a field that is none. The text shows the line.
    #[error("{0}")]
    Toml(String),
    /// It is too large.
    #[error("{0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    /// It has too many rules.
    #[error("{0} rules, more than {MAX_RULES}")]
    TooMany(usize),
    /// What is done where no rule takes a study is not said.
    #[error(
        "no [default]: say at the end what becomes of studies that no rule takes, for example [default] with \
         priority = \"routine\""
    )]
    NoDefault,
    /// Something in a rule.
    #[error("line {line}, {what}: {field}: {problem}")]
    Field {
        /// Where the rule begins.
        line: usize,
        /// Which rule.
        what: String,
        /// Its field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    rule: Vec<Spanned<WrittenRule>>,
    default: Option<Spanned<WrittenAction>>,
    #[serde(default)]
    completeness: Vec<Spanned<WrittenCompleteness>>,
    priors: Option<Spanned<WrittenPriors>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenRule {
    name: String,
    sender: Option<Vec<String>>,
    tenant: Option<Vec<String>>,
    modality: Option<Vec<String>>,
    body_part: Option<Vec<String>>,
    study_description: Option<Vec<String>>,
    series_description: Option<Vec<String>>,
    institution: Option<Vec<String>>,
    patient_id: Option<Vec<String>>,
    patient_name: Option<Vec<String>>,
    study_age_from_days: Option<u32>,
    study_age_below_days: Option<u32>,
    patient_age_from_years: Option<u32>,
    patient_age_below_years: Option<u32>,
    quality_control: Option<bool>,
    skip: Option<String>,
    priority: Option<Priority>,
    destinations: Option<Vec<String>>,
    model: Option<String>,
    prompt: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenAction {
    skip: Option<String>,
    priority: Option<Priority>,
    destinations: Option<Vec<String>>,
    model: Option<String>,
    prompt: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCompleteness {
    sender: String,
    quiet_period_ms: Option<u64>,
    association_grace_ms: Option<u64>,
    max_wait_ms: Option<u64>,
    believes_counts: Option<bool>,
    waits_for_mpps: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPriors {
    most: Option<u32>,
    years: Option<u32>,
    source: Option<String>,
}

/// Where in the file something stands, for messages.
struct Place {
    line: usize,
    what: String,
}

impl Place {
    fn of(text: &str, span: Range<usize>, what: String) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        Self { line: before.matches('\n').count() + 1, what }
    }

    fn wrong(&self, field: &'static str, problem: impl Into<String>) -> RulesError {
        RulesError::Field { line: self.line, what: self.what.clone(), field, problem: problem.into() }
    }
}

impl Rules {
    /// Reads a file. `default` is how studies are complete of senders that it does not name.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str, default: CompletenessRule) -> Result<Self, RulesError> {
        if text.len() > MAX_BYTES {
            return Err(RulesError::TooLarge(text.len()));
        }
        let written: Written = toml::from_str(text).map_err(|error| RulesError::Toml(error.to_string()))?;
        if written.rule.len() > MAX_RULES {
            return Err(RulesError::TooMany(written.rule.len()));
        }
        let mut names = BTreeSet::new();
        let mut rules = Vec::with_capacity(written.rule.len());
        for (index, rule) in written.rule.into_iter().enumerate() {
            let span = rule.span();
            let rule = rule.into_inner();
            let what =
                if rule.name.is_empty() { format!("rule {}", index + 1) } else { format!("rule {:?}", rule.name) };
            let place = Place::of(text, span, what);
            let rule = rule.read(&place)?;
            if !names.insert(rule.name.clone()) {
                return Err(place.wrong("name", "another rule has it"));
            }
            rules.push(rule);
        }
        let last = written.default.ok_or(RulesError::NoDefault)?;
        let place = Place::of(text, last.span(), "[default]".to_owned());
        let default_action = last.into_inner().read(&place)?;
        let mut completeness = Vec::with_capacity(written.completeness.len());
        for each in written.completeness {
            let place = Place::of(text, each.span(), format!("[[completeness]] of {:?}", each.get_ref().sender));
            completeness.push(each.into_inner().read(&place, default)?);
        }
        let priors = match written.priors {
            Some(each) => {
                let place = Place::of(text, each.span(), "[priors]".to_owned());
                each.into_inner().read(&place)?
            }
            None => PriorRules::default(),
        };
        Ok(Self { rules, default: default_action, completeness, priors })
    }
}

impl WrittenRule {
    fn read(self, place: &Place) -> Result<Rule, RulesError> {
        if !(1..=MAX_NAME).contains(&self.name.chars().count()) || self.name.chars().any(char::is_control) {
            return Err(place.wrong("name", format!("give it 1 to {MAX_NAME} characters")));
        }
        if self.name == DEFAULT {
            return Err(place.wrong("name", "that is what is done where no rule takes a study; choose another"));
        }
        let mut conditions = Vec::new();
        for (attribute, patterns) in [
            (Attribute::Sender, self.sender),
            (Attribute::Tenant, self.tenant),
            (Attribute::Modality, self.modality),
            (Attribute::BodyPart, self.body_part),
            (Attribute::StudyDescription, self.study_description),
            (Attribute::SeriesDescription, self.series_description),
            (Attribute::Institution, self.institution),
            (Attribute::PatientId, self.patient_id),
            (Attribute::PatientName, self.patient_name),
        ] {
            let Some(patterns) = patterns else { continue };
            if patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_empty()) {
                return Err(place.wrong(attribute.name(), "an empty text fits nothing; leave the field out for any"));
            }
            let patterns = patterns.iter().map(|pattern| Pattern::new(pattern)).collect();
            conditions.push(Condition::Fits { attribute, patterns });
        }
        let ages = [
            ("study_age_below_days", self.study_age_from_days, self.study_age_below_days),
            ("patient_age_below_years", self.patient_age_from_years, self.patient_age_below_years),
        ];
        let [study_age, patient_age] = ages.map(|(field, from, below)| age(place, field, from, below));
        conditions.extend(study_age?.map(Condition::StudyAge));
        conditions.extend(patient_age?.map(Condition::PatientAge));
        conditions.extend(self.quality_control.map(Condition::QualityControl));
        if conditions.is_empty() {
            let problem = "a rule without conditions takes every study, and those after it none; put it into [default]";
            return Err(place.wrong("name", problem));
        }
        let Self { skip, priority, destinations, model, prompt, .. } = self;
        let action = WrittenAction { skip, priority, destinations, model, prompt }.read(place)?;
        Ok(Rule { name: self.name, conditions, action })
    }
}

/// A range of ages; none where neither end is given.
fn age(
    place: &Place,
    field: &'static str,
    from: Option<u32>,
    below: Option<u32>,
) -> Result<Option<Range<i64>>, RulesError> {
    if from.is_none() && below.is_none() {
        return Ok(None);
    }
    let range = from.map_or(i64::MIN, i64::from)..below.map_or(i64::MAX, i64::from);
    if range.is_empty() {
        return Err(place.wrong(field, "no age is from the one and below the other"));
    }
    Ok(Some(range))
}

impl WrittenAction {
    fn read(self, place: &Place) -> Result<Action, RulesError> {
        let wrong = |field| move |error: IdError| place.wrong(field, error.to_string());
        let demand = Demand {
            model: self.model.as_deref().map(ModelName::parse).transpose().map_err(wrong("model"))?,
            prompt: self.prompt.as_deref().map(PromptName::parse).transpose().map_err(wrong("prompt"))?,
        };
        if let Some(reason) = &self.skip {
            let length = reason.chars().count();
            if !(1..=MAX_REASON).contains(&length) || reason.chars().any(char::is_control) {
                return Err(place.wrong("skip", format!("give a reason of 1 to {MAX_REASON} characters")));
            }
            if self.priority.is_some() || self.destinations.is_some() || !demand.is_any() {
                return Err(place.wrong("skip", "what is not read has no priority, destinations, model or prompt"));
            }
        }
        let destinations = self.destinations.unwrap_or_default();
        if let Some(wrong) = destinations.iter().find(|name| !is_destination(name)) {
            return Err(place.wrong("destinations", no_destination(wrong)));
        }
        Ok(Action { skip: self.skip, priority: self.priority.unwrap_or_default(), destinations, demand })
    }
}

/// Whether it may be the name of a destination.
fn is_destination(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_plain)
}

fn no_destination(wrong: &str) -> String {
    format!("{wrong:?} is no name: 1 to {MAX_NAME} letters, digits, dots, dashes and underscores")
}

impl WrittenPriors {
    fn read(self, place: &Place) -> Result<PriorRules, RulesError> {
        let default = PriorRules::default();
        let rules = PriorRules {
            most: self.most.unwrap_or(default.most),
            years: self.years.unwrap_or(default.years),
            source: self.source,
        };
        if rules.most > PriorRules::MOST {
            return Err(place.wrong("most", format!("{} is more than {}", rules.most, PriorRules::MOST)));
        }
        if !(1..=PriorRules::MAX_YEARS).contains(&rules.years) {
            let problem =
                format!("{} is not between 1 and {}; most = 0 turns it off", rules.years, PriorRules::MAX_YEARS);
            return Err(place.wrong("years", problem));
        }
        match rules.source.as_deref().filter(|name| !is_destination(name)) {
            Some(wrong) => Err(place.wrong("source", no_destination(wrong))),
            None => Ok(rules),
        }
    }
}

impl WrittenCompleteness {
    fn read(self, place: &Place, default: CompletenessRule) -> Result<(Pattern, Overrides), RulesError> {
        if self.sender.is_empty() {
            return Err(place.wrong("sender", "an empty text fits nobody; * fits everybody"));
        }
        let overrides = Overrides {
            quiet_period_ms: self.quiet_period_ms,
            association_grace_ms: self.association_grace_ms,
            max_wait_ms: self.max_wait_ms,
            believes_counts: self.believes_counts,
            waits_for_steps: self.waits_for_mpps,
        };
        match default.with(&overrides).problem() {
            Some(problem) => Err(place.wrong("sender", problem)),
            None => Ok((Pattern::new(&self.sender), overrides)),
        }
    }
}
