//! `prelim watch`: the cluster, or some studies of it.

use std::io::IsTerminal as _;

use clap::Args;
use prelim_proto::v1::WatchStudiesRequest;

use crate::client::{Connection, plain};
use crate::commands::studies::study_json;
use crate::progress::Bars;
use crate::table;

/// Show the cluster as it works: queue, workers and studies. Where studies are named, follow those until their drafts are
/// made. Where stdout is no terminal, a line for each change.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim watch                 the cluster, until q\n  prelim watch 1.2.840.1       one study, until it is drafted\n  prelim watch --json | jq     every change of every study, for programs"
)]
pub(crate) struct Watch {
    /// Study Instance UIDs; every study where none is named.
    #[arg(value_name = "STUDY")]
    studies: Vec<String>,
    #[command(flatten)]
    connection: Connection,
    /// For programs: one JSON object a line for each change.
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.studies.is_empty() && !self.json && std::io::stdout().is_terminal() {
            return crate::live::show(&self.connection).await;
        }
        let mut client = self.connection.studies().await?;
        let request = WatchStudiesRequest { study_uids: self.studies };
        let mut changes = client.watch_studies(request).await.map_err(plain)?.into_inner();
        let mut bars = (!self.json).then(Bars::new);
        while let Some(change) = changes.message().await.map_err(plain)? {
            if let (Some(bars), Some(progress)) = (&mut bars, &change.progress) {
                bars.update(progress);
            }
            let Some(study) = change.study else { continue };
            match &bars {
                // Above the bars on a terminal; otherwise it is data.
                Some(bars) if std::io::stdout().is_terminal() => {
                    bars.line(&format!("{}  {}", study.uid, table::state(&study)));
                }
                Some(_) => table::say(format!("{}  {}", study.uid, table::state(&study)))?,
                None => table::say(study_json(&study))?,
            }
        }
        if let Some(bars) = bars {
            bars.finish();
        }
        Ok(())
    }
}
