//! Outcomes and requests for jobs that come while a script is under way go together in the next: under load that saves the
//! server most of what a script costs before it does anything, and the log a transaction each. Whoever comes alone goes at
//! once.

use std::sync::Arc;
use std::time::Duration;

use prelim_proto::ids::{FencingToken, JobId, Uid};
use prelim_proto::job::{JobOutcome, Lease};
use redis::Value;
use tokio::sync::{mpsc, oneshot};

use super::link::Link;
use super::reply::{self, odd};
use super::script::{Args, Scripts};
use crate::clock::Clock;
use crate::queue::{LOCALITY_MS, Share};
use crate::store::StoreError;
use crate::store::record::{LeaseRequest, MAX_HELD};
use crate::store::records::Result;

/// Calls in one script: the server does nothing else meanwhile, about a millisecond.
const MOST: usize = 32;
/// Calls in the script before from which on it pays to wait a moment for more.
const CROWD: usize = 4;
/// That moment: next to the time that a job takes, it is nothing.
const GATHERING: Duration = Duration::from_millis(1);
/// Calls that may wait for their turn; more wait outside.
const WAITING: usize = 4_096;
/// Where the arguments say that the call is repeated.
const REPEATS: usize = 3;

/// What scripts are run with.
#[derive(Clone)]
pub(super) struct Runner {
    pub(super) link: Arc<Link>,
    pub(super) scripts: Arc<Scripts>,
    /// Of all keys, with the hash tag.
    pub(super) prefix: String,
    /// In the place of the server's, for tests.
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl Runner {
    /// Arguments of a script, to which its own are added.
    pub(super) fn args(&self) -> Args {
        Args::new(&self.prefix, self.clock.as_ref().map(|clock| clock.now_ms()))
    }
}

/// What came of a job, as its worker hands it in.
pub(super) struct HandedIn {
    pub(super) job: JobId,
    pub(super) token: FencingToken,
    pub(super) outcome: JobOutcome,
}

/// A call that goes with others.
enum Call {
    /// An outcome; the answer is a word that [`super::operations`] reads.
    HandIn(Box<HandedIn>),
    /// A request for a job; the answer is a list.
    Lease(Box<LeaseRequest>),
}

/// The line in which outcomes and requests for jobs wait, one script under way at a time.
pub(super) struct Exchange {
    asking: mpsc::Sender<(Call, oneshot::Sender<Result<Value>>)>,
}

impl Exchange {
    /// Starts to answer. It ends when this is dropped.
    pub(super) fn start(runner: Runner) -> Self {
        let (asking, mut asked) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let (mut calls, mut before) = (Vec::with_capacity(MOST), 0);
            while asked.recv_many(&mut calls, MOST).await > 0 {
                // Those that are about to ask come along.
                match before {
                    CROWD.. if calls.len() < MOST => tokio::time::sleep(GATHERING).await,
                    _ => tokio::task::yield_now().await,
                }
                while calls.len() < MOST
                    && let Ok(call) = asked.try_recv()
                {
                    calls.push(call);
                }
                before = calls.len();
                // The script stores outcomes before it leases.
                calls.sort_by_key(|(call, _)| matches!(call, Call::Lease(_)));
                let (questions, tells): (Vec<Call>, Vec<oneshot::Sender<Result<Value>>>) = calls.drain(..).unzip();
                let answers: Vec<Result<Value>> = match exchange(&runner, &questions).await {
                    Ok(answers) if answers.len() == tells.len() => answers.into_iter().map(Ok).collect(),
                    Ok(_) => tells.iter().map(|_| Err(odd("an answer"))).collect(),
                    Err(error) => tells.iter().map(|_| Err(error.clone())).collect(),
                };
                for (tell, answer) in tells.into_iter().zip(answers) {
                    // Whoever gave up waiting does not want it any more.
                    let _: std::result::Result<(), _> = tell.send(answer);
                }
            }
        });
        Self { asking }
    }

    /// Stores an outcome; the word that says what came of it.
    pub(super) async fn hand_in(&self, handed_in: HandedIn) -> Result<Value> {
        self.ask(Call::HandIn(Box::new(handed_in))).await
    }

    /// Leases a job, where there is one.
    pub(super) async fn lease(&self, request: LeaseRequest) -> Result<Option<Lease>> {
        let ttl_ms = request.ttl_ms;
        match reply::list(self.ask(Call::Lease(Box::new(request))).await?)?.as_slice() {
            [] => Ok(None),
            [spec, token, attempt, waited, waited_now] => Ok(Some(Lease {
                job: reply::json(spec)?,
                token: FencingToken(reply::unsigned(token)?),
                attempt: u32::try_from(reply::unsigned(attempt)?).map_err(|_| odd("a lease"))?,
                ttl_ms,
                waited_ms: reply::unsigned(waited)?,
                attempt_waited_ms: reply::unsigned(waited_now)?,
                asked: None,
            })),
            _ => Err(odd("a lease")),
        }
    }

    /// The answer to a call, made with others or alone.
    async fn ask(&self, call: Call) -> Result<Value> {
        let gone = || StoreError::Unreachable("the line to the server has ended".to_owned());
        let (tell, told) = oneshot::channel();
        self.asking.send((call, tell)).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

/// Makes calls in one script: outcomes first, then requests. The answers come in the same order.
async fn exchange(runner: &Runner, calls: &[Call]) -> Result<Vec<Value>> {
    let outcomes = calls.iter().filter(|call| matches!(call, Call::HandIn(_))).count();
    let mut args = runner.args().number(LOCALITY_MS).number(0).number(outcomes);
    for call in calls {
        args = match call {
            Call::HandIn(handed_in) => {
                let HandedIn { job, token, outcome } = &**handed_in;
                let args = args.text(job.study().as_str()).number(job.number()).number(token.0);
                args.json(outcome).packed(&reply::figures(&outcome.cost))
            }
            Call::Lease(request) => asked(args, request),
        };
    }
    reply::list(runner.link.run_lease(&runner.scripts.exchange, args, REPEATS).await?)
}

/// A request for a job, as arguments.
fn asked(args: Args, request: &LeaseRequest) -> Args {
    let mut wanted: String = request.kinds.iter().copied().map(reply::letter).collect();
    for demand in request.offer.demands() {
        wanted.push('\n');
        wanted.push_str(&demand.key());
    }
    let tenants = request.tenants.as_ref().map_or_else(
        || "*".to_owned(),
        |tenants| tenants.iter().map(|tenant| tenant.as_str()).collect::<Vec<_>>().join(" "),
    );
    let at_hand: Vec<_> = request.held.iter().take(MAX_HELD).map(Uid::as_str).collect();
    let share = |share: &Share| format!("{} {}", share.weight, share.max_running.map_or(-1, i64::from));
    let mut shares = share(&request.shares.default);
    for (tenant, of) in &request.shares.tenants {
        shares.push_str(&format!(" {tenant} {}", share(of)));
    }
    let repeats = request.repeats && !request.request.is_empty();
    args.texts([&request.worker, &request.request])
        .number(request.ttl_ms)
        .text(wanted)
        .text(tenants)
        .text(at_hand.join(" "))
        .text(shares)
        .number(u8::from(repeats))
}
