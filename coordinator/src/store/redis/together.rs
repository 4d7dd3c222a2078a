//! Calls of one kind that come while another is under way go together in one script: under load that saves the server
//! most of what a script costs before it does anything, and the log a transaction each. Whoever comes alone goes at once.

use std::sync::Arc;

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
/// Calls that may wait for their turn; more wait outside.
const WAITING: usize = 4_096;
/// Where the arguments of a lease say that the call is repeated.
const LEASE_REPEATS: usize = 3;

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

/// A line of calls with questions `Q` and answers `A`, one script under way at a time.
pub(super) struct Together<Q, A> {
    asking: mpsc::Sender<(Q, oneshot::Sender<Result<A>>)>,
}

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// Starts to answer by `run`, which gives an answer for each question in their order. It ends when this is dropped.
    pub(super) fn start<Running>(mut run: impl FnMut(Vec<Q>) -> Running + Send + 'static) -> Self
    where
        Running: Future<Output = Result<Vec<Result<A>>>> + Send,
    {
        let (asking, mut asked) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut calls = Vec::with_capacity(MOST);
            while asked.recv_many(&mut calls, MOST).await > 0 {
                let (questions, tells): (Vec<Q>, Vec<oneshot::Sender<Result<A>>>) = calls.drain(..).unzip();
                let answers = match run(questions).await {
                    Ok(answers) if answers.len() == tells.len() => answers,
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

    /// The answer to a question, asked with others or alone.
    pub(super) async fn ask(&self, question: Q) -> Result<A> {
        let gone = || StoreError::Unreachable("the line to the server has ended".to_owned());
        let (tell, told) = oneshot::channel();
        self.asking.send((question, tell)).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

/// A line of requests for jobs.
pub(super) fn leases(runner: Runner) -> Together<LeaseRequest, Option<Lease>> {
    Together::start(move |requests| {
        let runner = runner.clone();
        async move { lease(&runner, &requests).await }
    })
}

async fn lease(runner: &Runner, requests: &[LeaseRequest]) -> Result<Vec<Result<Option<Lease>>>> {
    let mut args = runner.args().number(LOCALITY_MS).number(0);
    for request in requests {
        let kinds: String = request.kinds.iter().copied().map(reply::letter).collect();
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
        args = args
            .texts([&request.worker, &request.request])
            .number(request.ttl_ms)
            .text(kinds)
            .text(tenants)
            .text(at_hand.join(" "))
            .text(shares)
            .number(u8::from(repeats));
    }
    let answers = reply::list(runner.link.run_lease(&runner.scripts.lease, args, LEASE_REPEATS).await?)?;
    let lease = |(answer, request): (Value, &LeaseRequest)| match reply::list(answer)?.as_slice() {
        [] => Ok(None),
        [spec, token, attempt, waited, waited_now] => Ok(Some(Lease {
            job: reply::json(spec)?,
            token: FencingToken(reply::unsigned(token)?),
            attempt: u32::try_from(reply::unsigned(attempt)?).map_err(|_| odd("a lease"))?,
            ttl_ms: request.ttl_ms,
            waited_ms: reply::unsigned(waited)?,
            attempt_waited_ms: reply::unsigned(waited_now)?,
        })),
        _ => Err(odd("a lease")),
    };
    Ok(answers.into_iter().zip(requests).map(lease).collect())
}

/// What came of a job, as its worker hands it in.
pub(super) struct HandedIn {
    pub(super) job: JobId,
    pub(super) token: FencingToken,
    pub(super) outcome: JobOutcome,
}

/// A line of outcomes. Their answers are words that [`super::operations`] reads.
pub(super) fn outcomes(runner: Runner) -> Together<HandedIn, Value> {
    Together::start(move |handed_in| {
        let runner = runner.clone();
        async move { complete(&runner, &handed_in).await }
    })
}

async fn complete(runner: &Runner, handed_in: &[HandedIn]) -> Result<Vec<Result<Value>>> {
    let mut args = runner.args();
    for HandedIn { job, token, outcome } in handed_in {
        args = args.text(job.study().as_str()).number(job.number()).number(token.0).json(outcome);
        args = args.packed(&reply::figures(&outcome.cost));
    }
    let words = reply::list(runner.link.run(&runner.scripts.complete_job, &args).await?)?;
    Ok(words.into_iter().map(Ok).collect())
}
