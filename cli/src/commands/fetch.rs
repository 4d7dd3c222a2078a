//! `prelim fetch`: studies from a PACS.

use clap::Args;
use prelim_proto::v1::{FetchRemoteStudyRequest, Fetched, FindRemoteStudiesRequest, RemoteStudy};
use serde_json::{Value, json};

use crate::client::{Connection, plain};
use crate::table;

/// Find studies in a PACS, and bring them in.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim fetch --from pacs 1.2.840.1\n  prelim fetch --from pacs --accession A1234\n  prelim fetch --from pacs --patient 4711 --date 20260101-20261231 --list"
)]
pub(crate) struct Fetch {
    /// Study Instance UIDs.
    #[arg(value_name = "STUDY", required_unless_present_any = ["accession", "patient"])]
    studies: Vec<String>,
    /// The PACS, by its name in the coordinator's --destinations.
    #[arg(long, value_name = "NAME")]
    from: String,
    /// The studies with this Accession Number.
    #[arg(long, value_name = "NUMBER", conflicts_with = "studies")]
    accession: Option<String>,
    /// The studies of the patient with this Patient ID.
    #[arg(long, value_name = "ID", conflicts_with = "studies")]
    patient: Option<String>,
    /// Of this day only, YYYYMMDD, or of the days from one to another: YYYYMMDD-YYYYMMDD.
    #[arg(long, value_name = "DATE", conflicts_with = "studies")]
    date: Option<String>,
    /// Show what is there, and bring nothing.
    #[arg(long)]
    list: bool,
    /// Whose studies they are; only for those who may send for several tenants.
    #[arg(long, value_name = "NAME", default_value = "")]
    tenant: String,
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

impl Fetch {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut asked = [&self.accession, &self.patient].into_iter().flatten();
        let pattern = asked.find(|value| value.contains(['*', '?', '\\']));
        if let Some(pattern) = pattern.filter(|_| !self.list) {
            anyhow::bail!(
                "{pattern:?} fits more than one: look at what is there with --list, and fetch studies by UID"
            );
        }
        let is_question = self.studies.is_empty() || self.list;
        let found = if is_question { self.found().await? } else { Vec::new() };
        if self.list {
            return self.show(&found);
        }
        let studies = match self.studies.is_empty() {
            true => found.into_iter().map(|study| study.study_uid).collect(),
            false => self.studies.clone(),
        };
        anyhow::ensure!(!studies.is_empty(), "{} holds no such study", self.from);
        let mut client = self.connection.exchange().await?;
        let mut brought = Vec::new();
        for study_uid in studies {
            let (source, tenant) = (self.from.clone(), self.tenant.clone());
            let request = FetchRemoteStudyRequest { source, study_uid, tenant };
            let answer = client.fetch_remote_study(request).await.map_err(plain)?.into_inner();
            let fetched = answer.fetched.unwrap_or_default();
            if !self.json {
                table::say(words(&fetched))?;
            }
            brought.push(fetched);
        }
        if self.json {
            let rows: Vec<Value> = brought.iter().map(fetched_json).collect();
            table::say(serde_json::to_string_pretty(&rows)?)?;
        }
        let short = brought.iter().filter(|each| each.held < each.expected).count();
        anyhow::ensure!(short == 0, "{} of {} not whole", short, table::count(brought.len(), "study"));
        Ok(())
    }

    /// What the PACS has.
    async fn found(&self) -> anyhow::Result<Vec<RemoteStudy>> {
        let mut client = self.connection.exchange().await?;
        let questions = match self.studies.as_slice() {
            [] => vec![String::new()],
            studies => studies.to_vec(),
        };
        let mut found = Vec::new();
        for study_uid in questions {
            let request = FindRemoteStudiesRequest {
                source: self.from.clone(),
                study_uid,
                accession_number: self.accession.clone().unwrap_or_default(),
                patient_id: self.patient.clone().unwrap_or_default(),
                study_date: self.date.clone().unwrap_or_default(),
            };
            found.extend(client.find_remote_studies(request).await.map_err(plain)?.into_inner().studies);
        }
        Ok(found)
    }

    fn show(&self, found: &[RemoteStudy]) -> anyhow::Result<()> {
        if self.json {
            let rows: Vec<Value> = found.iter().map(remote_json).collect();
            return table::say(serde_json::to_string_pretty(&rows)?);
        }
        if found.is_empty() {
            return table::say(format!("{} holds no such study", self.from));
        }
        let mut rows = table::new(&["Study", "Date", "Modality", "Files", "Patient", "Accession", "Description"]);
        for study in found {
            rows.add_row([
                table::cell(&study.study_uid, 64),
                table::cell(&study.study_date, 8),
                table::cell(&study.modalities.join(" "), 16),
                study.instance_count.to_string(),
                table::cell(&study.patient_id, 24),
                table::cell(&study.accession_number, 16),
                table::cell(&study.description, 32),
            ]);
        }
        table::one_line_a_row(&mut rows);
        table::align_right(&mut rows, &[3]);
        table::say(rows)
    }
}

/// What bringing a study came to, in a sentence.
fn words(fetched: &Fetched) -> String {
    let mut text = format!(
        "{}  {} of {} held, {} new, by {}",
        fetched.study_uid,
        fetched.held,
        table::count(fetched.expected as usize, "instance"),
        fetched.accepted,
        fetched.by
    );
    for reason in &fetched.reasons {
        text.push_str("\n  not taken: ");
        text.push_str(&table::cell(reason, 200));
    }
    text
}

fn fetched_json(fetched: &Fetched) -> Value {
    json!({
        "study_uid": fetched.study_uid,
        "by": fetched.by,
        "expected": fetched.expected,
        "held": fetched.held,
        "accepted": fetched.accepted,
        "failed": fetched.failed,
        "reasons": fetched.reasons,
    })
}

fn remote_json(study: &RemoteStudy) -> Value {
    json!({
        "study_uid": study.study_uid,
        "patient_id": study.patient_id,
        "patient_name": study.patient_name,
        "accession_number": study.accession_number,
        "study_date": study.study_date,
        "description": study.description,
        "modalities": study.modalities,
        "instances": study.instance_count,
    })
}
