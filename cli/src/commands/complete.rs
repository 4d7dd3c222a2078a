//! `prelim complete`: say that all images of studies are there.

use clap::Args;
use prelim_proto::v1::CompleteStudyRequest;

use crate::client::{Connection, plain_of_submitting};
use crate::table;

/// Say that all images of studies are there, so that they are read now.
///
/// For senders that cannot say so themselves. A study that is read already is left alone; one that failed, or was cancelled
/// or skipped, is tried again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim complete 1.2.840.1 1.2.840.2")]
pub(crate) struct Complete {
    /// Study Instance UIDs.
    #[arg(value_name = "STUDY", required = true)]
    studies: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Complete {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.studies().await?;
        for study_uid in self.studies {
            let request = CompleteStudyRequest { study_uid: study_uid.clone(), request_id: String::new() };
            let study = client
                .complete_study(request)
                .await
                .map_err(plain_of_submitting)?
                .into_inner()
                .study
                .unwrap_or_default();
            table::say(format!("{study_uid}: {}", table::state(&study)))?;
        }
        Ok(())
    }
}
