//! `prelim report`: the draft of a study.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use prelim_proto::v1::{GetReportRequest, ReportFormat};

use crate::client::{Connection, plain};
use crate::files::write_whole;

/// Fetch the draft report of a study.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim report 1.2.840.1 --format html -o draft.html\n  prelim report 1.2.840.1 --format sr -o draft.dcm"
)]
pub(crate) struct Report {
    /// Study Instance UID, as `prelim studies` shows it.
    #[arg(value_name = "STUDY")]
    study: String,
    #[command(flatten)]
    connection: Connection,
    /// In which form.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Where to write it; stdout where not given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON after the published schema.
    Json,
    /// One self-contained page with key images.
    Html,
    /// DICOM SR, TID 1500.
    Sr,
    /// Plain text.
    Text,
}

impl Format {
    /// The form on the wire.
    pub(crate) fn wire(self) -> ReportFormat {
        match self {
            Self::Json => ReportFormat::Json,
            Self::Html => ReportFormat::Html,
            Self::Sr => ReportFormat::DicomSr,
            Self::Text => ReportFormat::Text,
        }
    }

    /// The usual end of a file's name.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Sr => "dcm",
            Self::Text => "txt",
        }
    }
}

impl Report {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.output.is_none() && self.format == Format::Sr && std::io::stdout().is_terminal() {
            anyhow::bail!("a DICOM SR is binary: name a file with -o, for example -o draft.dcm");
        }
        let mut client = self.connection.studies().await?;
        let request = GetReportRequest { study_uid: self.study, format: self.format.wire() as i32 };
        let response = client.get_report(request).await.map_err(plain)?.into_inner();
        let content = response.report.context("the coordinator sent no report")?.content;
        match self.output {
            Some(path) => write_whole(&path, &content),
            None => Ok(std::io::stdout().write_all(&content).and_then(|()| std::io::stdout().flush())?),
        }
    }
}
