//! `prelim cancel`: stop work on studies.

use clap::Args;
use prelim_proto::v1::CancelStudyRequest;

use crate::client::Connection;
use crate::each::Each;
use crate::table;

/// Stop work on studies that are not drafted yet. Jobs that run are given up within one heartbeat, 10 s at most.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim cancel 1.2.840.1 --reason \"sent twice\"")]
pub(crate) struct Cancel {
    /// Study Instance UIDs.
    #[arg(value_name = "STUDY", required = true)]
    studies: Vec<String>,
    /// Why, in a few words; it is kept with the study.
    #[arg(long, value_name = "TEXT", default_value = "cancelled by an operator")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

impl Cancel {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.studies().await?;
        let mut each = Each::of(self.studies.len(), "study");
        for study_uid in self.studies {
            let request = CancelStudyRequest { study_uid: study_uid.clone(), reason: self.reason.clone() };
            match client.cancel_study(request).await {
                Ok(answer) => {
                    let study = answer.into_inner().study.unwrap_or_default();
                    table::say(format!("{}  {}", study.uid, table::state(&study)))?;
                }
                Err(status) => each.failed(&study_uid, status)?,
            }
        }
        each.finish("cancelled")
    }
}
