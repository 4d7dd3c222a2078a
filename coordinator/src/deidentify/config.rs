//! The settings of de-identification.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use prelim_imaging::deidentify::Options;

/// What workers get to see of patients. Without a key, the objects as they came.
#[derive(Debug, Clone, Default, Args)]
pub struct DeidentifyConfig {
    /// De-identify what workers read (DICOM PS3.15, Basic Profile), with UIDs that follow from the key in this file: 32
    /// bytes or more, which nobody else may read. Drafts name the real ones. All coordinators on one store need the same.
    #[arg(long, value_name = "FILE", env = "PRELIM_DEIDENTIFY")]
    pub deidentify: Option<PathBuf>,
    /// What workers see beside what the profile keeps.
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        value_delimiter = ',',
        env = "PRELIM_DEIDENTIFY_RETAIN",
        requires = "deidentify"
    )]
    pub deidentify_retain: Vec<Retain>,
    /// Give workers no image whose pixels may show a name or a face, by its header: it is listed as not read. Without this,
    /// such images are told of in the log.
    #[arg(long, env = "PRELIM_DEIDENTIFY_REFUSE_BURNED_IN", requires = "deidentify")]
    pub deidentify_refuse_burned_in: bool,
}

/// Options of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Retain {
    /// Dates, all of one patient moved back by the same days; times of day stay.
    Dates,
    /// Age, sex, size, weight and their like.
    Characteristics,
}

impl DeidentifyConfig {
    /// The same for who de-identifies.
    pub fn options(&self) -> Options {
        Options {
            keeps_characteristics: self.deidentify_retain.contains(&Retain::Characteristics),
            keeps_dates: self.deidentify_retain.contains(&Retain::Dates),
            refuses_burned_in: self.deidentify_refuse_burned_in,
        }
    }
}
