//! `prelim reidentify`: what a pseudonym stands for.

use clap::Args;
use prelim_proto::v1::{Reidentified, ReidentifyRequest};
use serde_json::json;

use crate::client::{Connection, plain};
use crate::table;

/// Find the study, image or patient that a pseudonym stands for.
///
/// Of a coordinator with --deidentify, which tries its key on the studies that it holds, newest first. It takes the role
/// `read`, and is in the audit. For sets of files, `prelim deidentify --table` writes what became what.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim reidentify 2.25.171828250780545086427419490241713682873")]
pub(crate) struct Reidentify {
    /// UID, Patient ID or Accession Number as it stands in a de-identified object.
    #[arg(value_name = "PSEUDONYM")]
    pseudonym: String,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Reidentify {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.studies().await?;
        let request = ReidentifyRequest { pseudonym: self.pseudonym.clone() };
        let found = client.reidentify(request).await.map_err(plain)?.into_inner().found;
        if self.json {
            let found: Vec<_> = found.iter().map(json_of).collect();
            return table::say(serde_json::to_string_pretty(&found)?);
        }
        anyhow::ensure!(
            !found.is_empty(),
            "{} stands for nothing that is held here; was it made with another key?",
            table::cell(&self.pseudonym, 80)
        );
        let mut rows = table::new(&["What", "Original", "Study", "Patient ID", "Patient", "Accession"]);
        for found in found {
            rows.add_row(
                [
                    found.kind,
                    found.original,
                    found.study_uid,
                    found.patient_id,
                    found.patient_name,
                    found.accession_number,
                ]
                .map(|text| table::cell(&text, 80)),
            );
        }
        table::one_line_a_row(&mut rows);
        table::say(rows)
    }
}

fn json_of(found: &Reidentified) -> serde_json::Value {
    json!({
        "kind": found.kind,
        "original": found.original,
        "study_uid": found.study_uid,
        "patient_id": found.patient_id,
        "patient_name": found.patient_name,
        "accession_number": found.accession_number,
    })
}
