//! `prelim remove`: studies, for good.

use clap::Args;
use prelim_proto::v1::RemoveStudyRequest;

use crate::client::Connection;
use crate::each::Each;
use crate::table;

/// Remove studies for good: images, jobs, drafts, and all that is known of them. They are gone within two minutes.
///
/// Studies that are worked on are not removed: cancel them first. What was sent elsewhere stays there, and workitems that name
/// them end by themselves, days after they are over.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim remove 1.2.840.1")]
pub(crate) struct Remove {
    /// Study Instance UIDs.
    #[arg(value_name = "STUDY", required = true)]
    studies: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Remove {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.studies().await?;
        let mut each = Each::of(self.studies.len(), "study");
        for study_uid in self.studies {
            match client.remove_study(RemoveStudyRequest { study_uid: study_uid.clone() }).await {
                Ok(_) => table::say(format!("{study_uid}  removing"))?,
                Err(status) => each.failed(&study_uid, status)?,
            }
        }
        each.finish("removed")
    }
}
