//! `prelim remove`: studies, for good.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use prelim_proto::v1::RemoveStudyRequest;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::client::Connection;
use crate::each::Each;
use crate::table;

/// Why a study is not removed that has a signed report, as the coordinator names it.
const SIGNED: &str = "SIGNED";

/// Remove studies for good: images, jobs, drafts, and all that is known of them. They are gone within two minutes.
///
/// Studies that are worked on are not removed: cancel them first. Where a radiologist has signed a report, it is asked once more whether that is to go, too; where nobody can be asked, that takes --yes. What was sent elsewhere stays there, and workitems that name them end by themselves, days after they are over.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  prelim remove 1.2.840.1\n  prelim remove 1.2.840.1 --yes      also where its report is signed"
)]
pub(crate) struct Remove {
    /// Study Instance UIDs.
    #[arg(value_name = "STUDY", required = true)]
    studies: Vec<String>,
    /// Remove studies with signed reports, too, and do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Remove {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.studies().await?;
        let mut each = Each::of(self.studies.len(), "study");
        let mut signed = Vec::new();
        for study_uid in self.studies {
            let request = RemoveStudyRequest { study_uid: study_uid.clone(), signed_too: self.yes };
            match client.remove_study(request).await {
                Ok(_) => table::say(format!("{study_uid}  removing"))?,
                Err(status) if is_signed(&status) => signed.push(study_uid),
                Err(status) => each.failed(&study_uid, status)?,
            }
        }
        let are_meant = !signed.is_empty() && std::io::stdin().is_terminal() && are_meant(&signed)?;
        for study_uid in signed {
            if !are_meant {
                each.left(&study_uid, "a radiologist has signed its report: --yes removes that, too");
                continue;
            }
            let request = RemoveStudyRequest { study_uid: study_uid.clone(), signed_too: true };
            match client.remove_study(request).await {
                Ok(_) => table::say(format!("{study_uid}  removing"))?,
                Err(status) => each.failed(&study_uid, status)?,
            }
        }
        each.finish("removed")
    }
}

fn is_signed(status: &Status) -> bool {
    status.get_error_details().error_info().is_some_and(|info| info.reason == SIGNED)
}

/// Asks whether signed reports are to go, too.
fn are_meant(signed: &[String]) -> anyhow::Result<bool> {
    let mut out = std::io::stderr();
    for study in signed {
        writeln!(out, "{}  has a report that a radiologist signed", table::cell(study, 80))?;
    }
    let what = if signed.len() == 1 { "it" } else { "them" };
    write!(out, "Remove {what} for good, with the signed report? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
