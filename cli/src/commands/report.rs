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
    after_help = "Example:\n  prelim report 1.2.840.1 --format html -o draft.html\n  prelim report 1.2.840.1 --format fhir -o draft.fhir.json"
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
    /// A version of the report, from 1; where not given, the newest, also a draft that came after a signature: that names the signed version, which stands. Where such a draft was rejected, the signed version. What was signed stays, also when it is amended.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    report_version: Option<u32>,
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
    /// FHIR R4 Bundle with DiagnosticReport.
    Fhir,
    /// HL7 v2.5.1 message, ORU^R01.
    Hl7,
    /// PDF/A-2b with key images.
    Pdf,
    /// The PDF within a DICOM object.
    DicomPdf,
    /// DICOM Secondary Capture: key images with the boxes burned in.
    Sc,
    /// DICOM Key Object Selection: the images of the findings.
    Kos,
    /// DICOM Grayscale Softcopy Presentation State: the boxes over the source images.
    Gsps,
    /// DICOM SR: what a radiologist made of each finding; of a report that was reviewed.
    Assessment,
}

impl Format {
    /// Every form, as the demonstration writes them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Html,
        Self::Sr,
        Self::Text,
        Self::Json,
        Self::Fhir,
        Self::Hl7,
        Self::Pdf,
        Self::DicomPdf,
        Self::Sc,
        Self::Kos,
        Self::Gsps,
        Self::Assessment,
    ];

    /// The form on the wire.
    pub(crate) fn wire(self) -> ReportFormat {
        match self {
            Self::Json => ReportFormat::Json,
            Self::Html => ReportFormat::Html,
            Self::Sr => ReportFormat::DicomSr,
            Self::Text => ReportFormat::Text,
            Self::Fhir => ReportFormat::Fhir,
            Self::Hl7 => ReportFormat::Hl7,
            Self::Pdf => ReportFormat::Pdf,
            Self::DicomPdf => ReportFormat::DicomPdf,
            Self::Sc => ReportFormat::DicomSc,
            Self::Kos => ReportFormat::DicomKeyObjects,
            Self::Gsps => ReportFormat::DicomPresentationState,
            Self::Assessment => ReportFormat::DicomAssessment,
        }
    }

    /// The usual end of a file's name.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Sr => "dcm",
            Self::Text => "txt",
            Self::Fhir => "fhir.json",
            Self::Hl7 => "hl7",
            Self::Pdf => "pdf",
            Self::DicomPdf => "pdf.dcm",
            Self::Sc => "sc.dcm",
            Self::Kos => "kos.dcm",
            Self::Gsps => "gsps.dcm",
            Self::Assessment => "assessment.dcm",
        }
    }

    /// Whether it is no text.
    fn is_binary(self) -> bool {
        matches!(self, Self::Sr | Self::Pdf | Self::DicomPdf | Self::Sc | Self::Kos | Self::Gsps | Self::Assessment)
    }
}

impl Report {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.output.is_none() && self.format.is_binary() && std::io::stdout().is_terminal() {
            anyhow::bail!("this form is binary: name a file with -o, for example -o draft.{}", self.format.extension());
        }
        let mut client = self.connection.studies().await?;
        let version = self.report_version.unwrap_or_default();
        let request = GetReportRequest { study_uid: self.study, format: self.format.wire() as i32, version };
        let response = client.get_report(request).await.map_err(plain)?.into_inner();
        let content = response.report.context("the coordinator sent no report")?.content;
        match self.output {
            Some(path) => write_whole(&path, &content),
            None => Ok(std::io::stdout().write_all(&content).and_then(|()| std::io::stdout().flush())?),
        }
    }
}
