//! `prelim report`: the draft of a study.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use prelim_proto::v1::{GetReportRequest, ReportFormat};

use crate::client::{Connection, plain};

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

/// Writes a file beside its place and moves it there, so that nobody sees half of it. A link is followed, a file keeps its
/// permissions, and what is no file (a device, a pipe) is written to.
pub(crate) fn write_whole(path: &std::path::Path, content: &[u8]) -> anyhow::Result<()> {
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = real.as_path();
    let held = std::fs::metadata(path).ok();
    if held.as_ref().is_some_and(|held| !held.is_file() && !held.is_dir()) {
        let written = std::fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(content));
        return written.with_context(|| format!("{} could not be written", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?;
    let temporary = folder.join(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let written = std::fs::write(&temporary, content)
        .and_then(|()| held.map_or(Ok(()), |held| std::fs::set_permissions(&temporary, held.permissions())))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| format!("{} could not be written", path.display()))
}
