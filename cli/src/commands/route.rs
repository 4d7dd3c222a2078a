//! `prelim route`: rules, tried before they are used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use prelim_coordinator::clock::today;
use prelim_coordinator::intake::complete::CompletenessRule;
use prelim_coordinator::route::{Decision, Facts, Rules};
use prelim_coordinator::{CoordinatorConfig, store};
use prelim_imaging::Limits;
use prelim_imaging::header::{Header, read_header};
use prelim_proto::demand::{Demand, Offer};
use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::study::{Intake, Priority, Study, StudyAttributes, StudyState};
use prelim_proto::v1::{ListWorkersRequest, RouteStep, TestRouteRequest, TestRouteResponse};
use serde_json::json;
use store::record::{InstanceRecord, by_series};

use crate::client::{Connection, plain};
use crate::files::{self, Found};
use crate::table;

/// Try the rules that say which studies are read, how soon, and where their reports go.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim route check rules.toml\n  prelim route test ~/studies/chest --rules rules.toml --sender CT1\n  prelim route test 1.2.840.1"
)]
pub(crate) struct Route {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say whether a file of rules can be used, and what is in it.
    ///
    /// The exit code is 0 only where it can.
    #[command(after_help = "Example:\n  prelim route check rules.toml\n  prelim route check rules.toml --offered")]
    Check(Check),
    /// Say which rule takes a study, and why each one before it does not. Nothing is changed.
    ///
    /// Files are read here, and sent nowhere; a study that is held is looked at by its coordinator.
    #[command(
        after_help = "Example:\n  prelim route test ~/studies/chest --rules rules.toml --sender CT1\n  prelim route test 1.2.840.1"
    )]
    Test(Box<Test>),
}

#[derive(Debug, Args)]
struct Check {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also ask the coordinator whether workers offer the models and prompts that are named.
    #[arg(long)]
    offered: bool,
    #[command(flatten)]
    connection: Connection,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Test {
    /// A study that is held, by its Study Instance UID; or folders, taken with everything in them, or files.
    #[arg(value_name = "STUDY|FOLDER|FILE", required = true)]
    what: Vec<String>,
    /// The file of rules. A held study goes by the coordinator's own where it is not given.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Who is taken to have sent the files: an application entity title, or the name of a caller.
    #[arg(long, value_name = "TITLE")]
    sender: Option<String>,
    /// Whose the files are taken to be.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = Tenant::parse)]
    tenant: Tenant,
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

impl Route {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Check(check) => check.run().await,
            What::Test(test) => test.run().await,
        }
    }
}

/// Reads a file of rules, with its text.
fn read(file: &Path) -> anyhow::Result<(Rules, String)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let default: CompletenessRule = CoordinatorConfig::default().completeness();
    let rules = Rules::parse(&text, default).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok((rules, text))
}

impl Check {
    async fn run(self) -> anyhow::Result<()> {
        let (rules, _) = read(&self.file)?;
        let (count, destinations, demands) = (rules.len(), rules.destinations(), rules.demands());
        let workers = if self.offered { Some(self.connection.queue().await?) } else { None };
        let offers: Option<Vec<Offer>> = match workers {
            Some(mut client) => {
                let workers = client.list_workers(ListWorkersRequest {}).await.map_err(plain)?.into_inner().workers;
                let status = workers.into_iter().filter(|worker| !worker.draining).filter_map(|worker| worker.status);
                Some(
                    status
                        .filter_map(|status| Offer::from_wire(&status.model, &status.adapters, &status.prompts).ok())
                        .collect(),
                )
            }
            None => None,
        };
        let workers_for = |demand: &Demand| offers.as_ref().map(|all| all.iter().filter(|o| o.meets(demand)).count());
        let unmet = demands.iter().filter(|demand| workers_for(demand) == Some(0)).count();
        let all_met = || {
            anyhow::ensure!(unmet == 0, "no worker offers {unmet} of {}", table::count(demands.len(), "demand"));
            Ok(())
        };
        if self.json {
            let mut whole = json!({"rules": count, "destinations": destinations});
            if !demands.is_empty() {
                let each = |demand: &&Demand| json!({"model": demand.model, "prompt": demand.prompt, "workers": workers_for(demand)});
                whole["demanded"] = demands.iter().map(each).collect();
            }
            table::say(whole)?;
            return all_met();
        }
        let named = if destinations.is_empty() { "none".to_owned() } else { destinations.join(", ") };
        table::say(format!("{} and a default; destinations: {named}", table::count(count, "rule")))?;
        for demand in &demands {
            let taken = match workers_for(demand) {
                None => String::new(),
                Some(0) => "; no worker offers it: such studies will wait until one does".to_owned(),
                Some(workers) => format!("; offered by {}", table::count(workers, "worker")),
            };
            table::say(format!("demanded of workers: {demand}{taken}"))?;
        }
        all_met()
    }
}

/// What became of one study.
struct Tried {
    study_uid: String,
    answer: TestRouteResponse,
}

impl Test {
    async fn run(self) -> anyhow::Result<()> {
        let held = self.what.iter().map(|text| Uid::parse(text).ok().filter(|_| !Path::new(text).exists()));
        let tried = match held.collect::<Option<Vec<Uid>>>() {
            Some(studies) => self.ask(&studies).await?,
            None => self.look()?,
        };
        if self.json {
            let all: Vec<_> = tried.iter().map(tried_json).collect();
            return table::say(serde_json::to_string_pretty(&all)?);
        }
        tried.iter().try_for_each(tell)
    }

    /// Asks the coordinator that holds the studies.
    async fn ask(&self, studies: &[Uid]) -> anyhow::Result<Vec<Tried>> {
        let rules = match &self.rules {
            Some(file) => read(file)?.1,
            None => String::new(),
        };
        let mut client = self.connection.studies().await?;
        let mut tried = Vec::with_capacity(studies.len());
        for study in studies {
            let request = TestRouteRequest { study_uid: study.to_string(), rules: rules.clone() };
            let answer = client.test_route(request).await.map_err(plain)?.into_inner();
            tried.push(Tried { study_uid: study.to_string(), answer });
        }
        Ok(tried)
    }

    /// Looks at the headers of files.
    fn look(&self) -> anyhow::Result<Vec<Tried>> {
        let file = self.rules.as_deref().context("--rules FILE says by which rules files are tried")?;
        let (rules, _) = read(file)?;
        let paths: Vec<PathBuf> = self.what.iter().map(PathBuf::from).collect();
        let Found { files, unreadable } = files::below(&paths)?;
        let mut studies: BTreeMap<Uid, (StudyAttributes, Vec<InstanceRecord>)> = BTreeMap::new();
        let mut refused = unreadable;
        for path in files {
            match header(&path) {
                Ok(header) => {
                    let (attributes, instances) = studies.entry(header.study.clone()).or_default();
                    attributes.fill_from(&header.study_attributes);
                    instances.push(record(header));
                }
                Err(reason) => refused.push((path, reason)),
            }
        }
        for (path, reason) in &refused {
            tracing::warn!(path = %path.display(), %reason, "not read");
        }
        anyhow::ensure!(!studies.is_empty(), "none of {} is DICOM", table::count(refused.len(), "file"));
        let sender = self.sender.clone();
        let decide = |(uid, (attributes, instances)): (Uid, (StudyAttributes, Vec<InstanceRecord>))| {
            let study_uid = uid.to_string();
            let intake = Intake { senders: sender.iter().cloned().collect(), ..Intake::default() };
            let study = study(uid, self.tenant.clone(), attributes, instances, intake);
            Tried { study_uid, answer: answer(rules.decide(&Facts::of(&study, today()))) }
        };
        Ok(studies.into_iter().map(decide).collect())
    }
}

fn header(path: &Path) -> Result<Header, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    read_header(&bytes, None, &Limits::default()).map_err(|error| error.to_string())
}

fn record(header: Header) -> InstanceRecord {
    let series = header.series;
    InstanceRecord {
        series: series.uid,
        modality: series.modality,
        description: series.description,
        number: series.number,
        requests: series.requests,
        instance: header.instance,
    }
}

/// A study of files that nobody has sent yet.
fn study(
    uid: Uid,
    tenant: Tenant,
    attributes: StudyAttributes,
    instances: Vec<InstanceRecord>,
    intake: Intake,
) -> Study {
    Study {
        uid,
        tenant,
        state: StudyState::Complete,
        state_reason: None,
        priority: Priority::Routine,
        received_at_ms: 0,
        updated_at_ms: 0,
        attributes,
        series: by_series(instances),
        unread: Vec::new(),
        partition_notes: Vec::new(),
        jobs_total: 0,
        jobs_finished: 0,
        cost: Default::default(),
        intake,
    }
}

/// A decision in the form in which a coordinator tells it.
fn answer(decision: Decision) -> TestRouteResponse {
    let step =
        |step: prelim_coordinator::route::Step| RouteStep { rule: step.rule, takes: step.takes, reasons: step.reasons };
    TestRouteResponse {
        steps: decision.steps.into_iter().map(step).collect(),
        skip: decision.action.skip,
        priority: prelim_proto::v1::Priority::from(decision.action.priority) as i32,
        destinations: decision.action.destinations,
        model: decision.action.demand.model.map(Into::into).unwrap_or_default(),
        prompt: decision.action.demand.prompt.map(Into::into).unwrap_or_default(),
    }
}

fn priority(answer: &TestRouteResponse) -> Option<Priority> {
    Priority::try_from(answer.priority()).ok()
}

fn tried_json(tried: &Tried) -> serde_json::Value {
    let answer = &tried.answer;
    let step = |step: &RouteStep| json!({"rule": step.rule, "takes": step.takes, "reasons": step.reasons});
    let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    json!({
        "study_uid": tried.study_uid,
        "rule": answer.steps.last().map(|step| &step.rule),
        "skip": answer.skip,
        "priority": priority(answer),
        "destinations": answer.destinations,
        "model": named(&answer.model),
        "prompt": named(&answer.prompt),
        "steps": answer.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

/// What became of a study, for people.
fn tell(tried: &Tried) -> anyhow::Result<()> {
    let answer = &tried.answer;
    table::say(format!("study {}", tried.study_uid))?;
    for step in &answer.steps {
        let takes = if step.takes { "takes it" } else { "no" };
        table::say(format!(
            "  {}: {takes}; {}",
            table::cell(&step.rule, 64),
            table::cell(&step.reasons.join("; "), 400)
        ))?;
    }
    if let Some(reason) = &answer.skip {
        return table::say(format!("  → skipped: {}", table::cell(reason, 200)));
    }
    let word = match priority(answer) {
        Some(Priority::Stat) => "STAT",
        Some(Priority::Urgent) => "urgent",
        _ => "routine",
    };
    let to =
        if answer.destinations.is_empty() { "every destination".to_owned() } else { answer.destinations.join(", ") };
    let with = [("with model", &answer.model), ("with prompt", &answer.prompt)];
    let with = with.iter().filter(|(_, name)| !name.is_empty());
    let with: String = with.map(|(what, name)| format!(" {what} \"{}\"", table::cell(name, 100))).collect();
    table::say(format!("  → read{with}, {word}; reports go to: {to}"))
}
