//! `prelim bench engine`: passes of the model and reports end to end, beside those of other programs.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use prelim_kernels::Arithmetic;
use prelim_worker::WorkerLimits;
use prelim_worker::config::{ArithmeticChoice, WeightChoice};
use prelim_worker::demo_model;
use prelim_worker::model::WeightType;
use serde::Serialize;

use crate::engine_bench::checkpoint::{FULL, MEDIUM};
use crate::engine_bench::ours::Ours;
use crate::engine_bench::peers::{Bits, Peer, Program as Other};
use crate::engine_bench::reports::{Films, Reports};
use crate::engine_bench::{Figures, Load, Times, medians};
use crate::machine::{self, MemoryWatch};
use crate::{progress, table};

/// Threads of a program that has just computed may still look for work; the next one waits this long.
const BETWEEN: Duration = Duration::from_millis(400);

/// Arguments of `prelim bench engine`.
///
/// Images encoded, prompts read and tokens generated, one at a time and eight at once, and then films through the whole path,
/// from files to drafts. Everyone computes once a round, in turn; what is shown are medians over rounds, after one that is not
/// counted.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim bench engine --peers\n  prelim bench engine --model ~/models/medgemma-4b-it"
)]
pub(crate) struct EngineBench {
    /// A Hugging Face checkpoint folder. Without it, random weights are drawn into the cache folder once.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Which weights are drawn.
    #[arg(long, value_enum, default_value_t = Size::Medium, conflicts_with = "model")]
    size: Size,
    /// Sequences that are computed at once, in turn.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,8", value_parser = clap::value_parser!(u32).range(1..=256))]
    batches: Vec<u32>,
    /// How weights are kept in memory.
    #[arg(long, value_enum, default_value_t = WeightChoice::AsStored)]
    weights: WeightChoice,
    /// What factors of products are rounded to; both ways where not given.
    #[arg(long, value_enum)]
    arithmetic: Option<ArithmeticChoice>,
    /// Measure `transformers` in bf16 and the decoder of llama.cpp as well, which are installed into the cache folder (5 GB).
    /// llama.cpp has weights of bf16, or of q8_0 beside our int8.
    #[arg(long)]
    peers: bool,
    /// Threads of each; all cores where not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    threads: Option<u32>,
    /// Rounds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Tokens of a prompt beside those of its image.
    #[arg(long, value_name = "N", default_value_t = 82, value_parser = clap::value_parser!(u32).range(8..=8_192))]
    words: u32,
    /// Tokens that are generated in a round.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    steps: u32,
    /// Films that are read end to end in a round; 0 leaves that out. A worker of its own loads the weights once more for it.
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    films: u32,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

/// Random weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// A decoder of 18 layers of 640 and a tower of 12 layers of 768 at 448 px: 0.7 GB.
    Medium,
    /// MedGemma 4B's: a decoder of 34 layers of 2,560 and a tower of 27 layers of 1,152 at 896 px: 8.6 GB.
    #[value(name = "4b")]
    Full,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Results {
    machine: String,
    memory_gib: Option<f64>,
    threads: usize,
    model: String,
    prompt_tokens: usize,
    rounds: u32,
    programs: Vec<Program>,
    /// Ours, with the weights and arithmetic of the first program.
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<EndToEnd>,
}

/// Films from files to drafts.
#[derive(Debug, Serialize)]
struct EndToEnd {
    films: u32,
    #[serde(flatten)]
    ours: Reports,
    /// What others would take at best.
    peers: Vec<PeerReports>,
}

#[derive(Debug, Serialize)]
struct PeerReports {
    name: String,
    batch: usize,
    /// By its passes, for prompts and answers as long as ours.
    per_minute: f64,
    ours_is_faster: f64,
}

/// One program's part.
#[derive(Debug, Serialize)]
struct Program {
    name: String,
    load_s: Option<f64>,
    /// The most memory that it held; none for us where several models are loaded at once.
    peak_mib: Option<f64>,
    batches: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    batch: usize,
    #[serde(flatten)]
    times: Times,
    images_per_second: Option<f64>,
    prefill_tokens_per_second: f64,
    generated_tokens_per_second: f64,
    /// The medians of our best program, divided by these: above 1 where we are faster. None for our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    ours_is_faster: Option<Ratios>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Ratios {
    encode: Option<f64>,
    prefill: f64,
    generation: f64,
}

/// A program and its rounds.
struct Runner {
    name: String,
    load_s: Option<f64>,
    peak_mib: Option<f64>,
    kind: Kind,
    rounds: Vec<Figures>,
}

enum Kind {
    Ours(Box<Ours>),
    Peer(Peer),
}

impl EngineBench {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let cache = demo_model::default_cache();
        let folder = match &self.model {
            Some(folder) => folder.clone(),
            None => {
                progress::note("drawing weights, where they are not there yet …");
                let sizes = match self.size {
                    Size::Medium => MEDIUM,
                    Size::Full => FULL,
                };
                sizes.checkpoint(&cache)?
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(cores, |threads| threads as usize);
        let batches: Vec<usize> = self.batches.iter().map(|batch| *batch as usize).collect();
        let load = Load { batches: batches.clone(), words: self.words as usize, steps: self.steps as usize };
        let mut runners = Vec::new();
        let choices: &[ArithmeticChoice] = match &self.arithmetic {
            Some(choice) => std::slice::from_ref(choice),
            None => &[ArithmeticChoice::Bf16, ArithmeticChoice::Exact],
        };
        let mut prompt_tokens = 0;
        for choice in choices {
            let memory = MemoryWatch::start();
            let (arithmetic, what) = match choice {
                ArithmeticChoice::Exact => (Arithmetic::Exact, "exact"),
                ArithmeticChoice::Bf16 => (Arithmetic::Bf16, "products of bf16"),
            };
            progress::note(&format!("loading {} …", folder.display()));
            let ours = Ours::load(&folder, threads, arithmetic, WeightType::from(self.weights), load.clone())?;
            prompt_tokens = ours.prompt_tokens();
            progress::note(&format!("{what}: a round that is not counted …"));
            // The first round is also what memory is measured in.
            ours.measure()?;
            let peak_mib = memory.stop().filter(|_| runners.is_empty());
            let (name, load_s) = (format!("prelim {what}, {}", ours.name()), Some(ours.load_s));
            runners.push(Runner { name, load_s, peak_mib, kind: Kind::Ours(Box::new(ours)), rounds: Vec::new() });
        }
        let bits = if self.weights == WeightChoice::Int8 { Bits::Eight } else { Bits::Sixteen };
        let others = [Other::Transformers, Other::LlamaCpp(bits)];
        let others = if self.peers { &others[..] } else { &[] };
        for other in others {
            let mut peer = Peer::start(*other, &cache, &folder, threads, &load)?;
            progress::note(&format!("{}: a round that is not counted …", peer.name));
            peer.measure()?;
            let (name, load_s) = (peer.name.clone(), peer.load_s);
            runners.push(Runner { name, load_s, peak_mib: None, kind: Kind::Peer(peer), rounds: Vec::new() });
        }
        let limits =
            WorkerLimits { slots: 16, weights: self.weights, arithmetic: choices[0], ..WorkerLimits::default() };
        let films = match self.films {
            0 => None,
            count => Some(Films::draw(count, &folder, limits)?),
        };
        if let Some(films) = &films {
            progress::note(&format!("{} films: a round that is not counted …", self.films));
            films.read().await?;
        }
        let mut reports = Vec::new();
        for round in 1..=self.rounds {
            progress::note(&format!("round {round} of {} …", self.rounds));
            for runner in &mut runners {
                thread::sleep(BETWEEN);
                runner.round()?;
            }
            if let Some(films) = &films {
                reports.push(films.read().await?);
            }
        }
        let programs = programs(&runners, &batches, prompt_tokens);
        let end_to_end =
            |ours: Reports| EndToEnd { films: self.films, ours, peers: peers_reports(&programs, &ours, prompt_tokens) };
        let results = Results {
            machine: machine::processor(),
            memory_gib: machine::memory_gib("MemTotal"),
            threads,
            model: folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            prompt_tokens,
            rounds: self.rounds,
            reports: Reports::median(reports).map(end_to_end),
            programs,
        };
        if self.json { table::say(serde_json::to_string_pretty(&results)?) } else { show(&results) }
    }
}

impl Runner {
    fn round(&mut self) -> anyhow::Result<()> {
        let figures = match &mut self.kind {
            Kind::Ours(ours) => ours.measure()?,
            Kind::Peer(peer) => {
                let answer = peer.measure()?;
                self.peak_mib = Some(answer.peak_mib);
                answer.times
            }
        };
        self.rounds.push(figures);
        Ok(())
    }
}

fn programs(runners: &[Runner], batches: &[usize], prompt_tokens: usize) -> Vec<Program> {
    let best = runners.first().map_or_else(Figures::default, |runner| medians(&runner.rounds));
    let row = |index: usize, times: Times, is_peer: bool| {
        let (batch, best) = (batches[index], best[index]);
        Row {
            batch,
            times,
            images_per_second: times.encode_s.map(|encode_s| batch as f64 / encode_s),
            prefill_tokens_per_second: (batch * prompt_tokens) as f64 / times.prefill_s,
            generated_tokens_per_second: batch as f64 / times.step_s,
            ours_is_faster: is_peer.then(|| Ratios {
                encode: ratio(times.encode_s, best.encode_s),
                prefill: times.prefill_s / best.prefill_s,
                generation: times.step_s / best.step_s,
            }),
        }
    };
    let program = |runner: &Runner| {
        let is_peer = matches!(runner.kind, Kind::Peer(_));
        let figures = medians(&runner.rounds);
        Program {
            name: runner.name.clone(),
            load_s: runner.load_s,
            peak_mib: runner.peak_mib,
            batches: (0..batches.len()).map(|index| row(index, figures[index], is_peer)).collect(),
        }
    };
    runners.iter().map(program).collect()
}

/// What reports would take others, by their passes.
fn peers_reports(programs: &[Program], ours: &Reports, prompt_tokens: usize) -> Vec<PeerReports> {
    let rows = programs.iter().flat_map(|program| program.batches.iter().map(move |row| (program, row)));
    let of_peers = rows.filter(|(_, row)| row.ours_is_faster.is_some());
    of_peers
        .filter_map(|(program, row)| {
            let per_minute = ours.by_passes(&row.times, row.batch, prompt_tokens)?;
            let ours_is_faster = ours.per_minute / per_minute;
            Some(PeerReports { name: program.name.clone(), batch: row.batch, per_minute, ours_is_faster })
        })
        .collect()
}

fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}

fn show(results: &Results) -> anyhow::Result<()> {
    let memory = results.memory_gib.map_or_else(String::new, |gib| format!(", {gib:.0} GiB"));
    table::say(format!("{}{memory}, {} threads", results.machine, results.threads))?;
    table::say(format!("{}, medians of {} rounds that take turns", results.model, results.rounds))?;
    let columns = ["", "Batch", "Encode ms", "Prefill tok/s", "Generation tok/s", "Load s", "Peak MiB"];
    let mut rows = table::new(&columns);
    for program in &results.programs {
        for row in &program.batches {
            let times = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!(" (x {ratio:.2})"));
            let of = |get: fn(&Ratios) -> Option<f64>| times(row.ours_is_faster.as_ref().and_then(get));
            let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            rows.add_row([
                program.name.clone(),
                row.batch.to_string(),
                or_none(row.times.encode_s.map(|s| format!("{:.0}{}", s * 1e3, of(|ratios| ratios.encode)))),
                format!("{:.0}{}", row.prefill_tokens_per_second, of(|ratios| Some(ratios.prefill))),
                format!("{:.1}{}", row.generated_tokens_per_second, of(|ratios| Some(ratios.generation))),
                or_none(program.load_s.map(|s| format!("{s:.2}"))),
                or_none(program.peak_mib.map(|mib| format!("{mib:.0}"))),
            ]);
        }
    }
    table::align_right(&mut rows, &[1, 2, 3, 4, 5, 6]);
    table::say(rows)?;
    table::say(format!(
        "prompts of {} tokens, an image among them; x: how much faster the first row is",
        results.prompt_tokens,
    ))?;
    let Some(EndToEnd { films, ours, peers }) = &results.reports else { return Ok(()) };
    table::say(format!(
        "{:.1} reports/min end to end: {films} phantom films, from files to drafts; prompts of {:.0} tokens, answers of {:.0}, of which the grammar forced {:.0}",
        ours.per_minute, ours.prompt_tokens, ours.answer_tokens, ours.forced_tokens,
    ))?;
    for peer in peers {
        table::say(format!(
            "{:.1} (x {:.2}) {}, {} at once, by its passes alone for prompts and answers as long",
            peer.per_minute, peer.ours_is_faster, peer.name, peer.batch,
        ))?;
    }
    Ok(())
}
