//! What becomes of a study, by the site's rules: whether it is read, with which model, how soon, and where its reports go. Pure: today is an
//! argument.
//!
//! # Layout
//! - `file`: the file of rules (TOML), checked, with the line of what is wrong
//! - `condition`: what a rule asks of a study; `facts`: what a study says of itself
//! - `quality_control`: phantoms, known by what sites write on them
//!
//! Rules are in order, and the first whose conditions all hold takes the study; where none does, the default is what was
//! written for that. Without a file every study is read in its turn.
//!
//! **Invariant**: nothing is dropped in silence: a study that is not read has its rule and reason in its record, and each
//! of its instances among the unread.
//! **Invariant**: what a decision quotes of headers is for whoever asks about one study; a record, job, log or number has
//! the rule's name and words, and nothing of the header.

mod condition;
mod facts;
mod file;
mod quality_control;
#[cfg(test)]
mod tests;

use prelim_proto::demand::Demand;
use prelim_proto::study::{Priority, Route, Study, Unread, UnreadReason};

pub use facts::Facts;
pub use file::RulesError;

use crate::intake::complete::{CompletenessRule, Overrides, rule_of_all};
use crate::priors::PriorRules;
use condition::{Condition, Pattern};

/// Name of what is done where no rule takes a study.
pub const DEFAULT: &str = "default";

/// The site's rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    rules: Vec<Rule>,
    default: Action,
    completeness: Vec<(Pattern, Overrides)>,
    /// Which earlier studies are looked at.
    pub priors: PriorRules,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    name: String,
    /// All of them must hold. Not empty.
    conditions: Vec<Condition>,
    action: Action,
}

/// What is done with a study.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// Why it is not read; none where it is.
    pub skip: Option<String>,
    /// How soon it is wanted; its sender may want it sooner.
    pub priority: Priority,
    /// Where its reports go, by name.
    pub destinations: Vec<String>,
    /// The model and prompt that it is read with, where they are named.
    pub demand: Demand,
}

/// What the rules make of a study, and how they came to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is done.
    pub action: Action,
    /// The rules in their order, up to the one that took the study, which is the last.
    pub steps: Vec<Step>,
}

/// One rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub rule: String,
    /// Whether it takes the study.
    pub takes: bool,
    /// What held; or the first thing that did not. It may quote the header.
    pub reasons: Vec<String>,
}

impl Rules {
    /// What the rules make of a study.
    pub fn decide(&self, facts: &Facts) -> Decision {
        let mut steps = Vec::new();
        for rule in &self.rules {
            let held: Result<Vec<String>, String> = rule.conditions.iter().map(|each| each.check(facts)).collect();
            let takes = held.is_ok();
            let reasons = held.unwrap_or_else(|why_not| vec![why_not]);
            steps.push(Step { rule: rule.name.clone(), takes, reasons });
            if takes {
                return Decision { action: rule.action.clone(), steps };
            }
        }
        steps.push(Step { rule: DEFAULT.to_owned(), takes: true, reasons: vec!["no rule takes it".to_owned()] });
        Decision { action: self.default.clone(), steps }
    }

    /// When a study of these senders is complete; `default` is for those that the file does not name.
    pub fn completeness<'a>(
        &self,
        senders: impl Iterator<Item = &'a str>,
        default: CompletenessRule,
    ) -> CompletenessRule {
        let of = |sender: &str| {
            let named = self.completeness.iter().find(|(pattern, _)| pattern.fits(sender));
            named.map_or(default, |(_, overrides)| default.with(overrides))
        };
        rule_of_all(senders.map(of), default)
    }

    /// How many rules there are, without the default.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none but the default.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Every destination that is named, each once, in order of name.
    pub fn destinations(&self) -> Vec<&str> {
        let actions = self.rules.iter().map(|rule| &rule.action).chain([&self.default]);
        let mut names: Vec<&str> = actions.flat_map(|action| action.destinations.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Every model and prompt that is demanded of workers, each once, in order.
    pub fn demands(&self) -> Vec<&Demand> {
        let actions = self.rules.iter().map(|rule| &rule.action).chain([&self.default]);
        let mut demands: Vec<&Demand> =
            actions.map(|action| &action.demand).filter(|demand| !demand.is_any()).collect();
        demands.sort_unstable();
        demands.dedup();
        demands
    }
}

impl Decision {
    /// What the study's record keeps of it.
    pub fn route(&self) -> Route {
        let rule = self.steps.last().map_or(DEFAULT, |step| step.rule.as_str());
        let Action { destinations, demand, .. } = self.action.clone();
        Route { rule: rule.to_owned(), destinations, demand }
    }

    /// Why the study is not read, for its record, where it is not.
    pub fn skipped(&self) -> Option<String> {
        let reason = self.action.skip.as_ref()?;
        Some(format!("rule {:?}: {reason}", self.route().rule))
    }
}

/// Every instance of a study that is not read, with the reason.
pub fn unread(study: &Study, reason: &str) -> Vec<Unread> {
    let instances = study.series.iter().flat_map(|series| &series.instances);
    let each = instances.map(|instance| Unread {
        instance: instance.uid.clone(),
        frame: None,
        reason: UnreadReason::NotNeeded,
        detail: reason.to_owned(),
    });
    let mut unread: Vec<Unread> = each.collect();
    unread.sort_by(|a, b| a.instance.cmp(&b.instance));
    unread
}
