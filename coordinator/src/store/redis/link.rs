//! The way to a Redis: connections that are made again when they break, and questions that are asked again until there
//! is an answer. Every script is safe to repeat, so a lost answer costs nothing but the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, TlsMode, Value};
use tokio::sync::Mutex;

use super::address::{Address, Credentials, Kind};
use super::script::{Args, Script};
use crate::store::records::Result;
use crate::store::{Room, StoreError};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one answer may take. A server that syncs every write to a slow disk takes its time.
const RESPONSE: Duration = Duration::from_secs(10);
/// How long a question is asked again: a server that restarts, or a replica that takes over, is back within it.
const ASK_FOR: Duration = Duration::from_secs(15);
/// The pauses between two attempts grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The way to one Redis.
pub(super) struct Link {
    way: Way,
    ask_for: Duration,
    connection: Mutex<Option<Connection>>,
    /// Connections made so far.
    made: AtomicU64,
}

/// How connections are made.
enum Way {
    Server(Client),
    /// Asks the Sentinels who is master, each time.
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>, Client),
}

/// An open connection, shared by all who ask.
#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn send(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::Single(connection) => connection.req_packed_command(cmd).await,
            Self::Cluster(connection) => connection.req_packed_command(cmd).await,
        };
        // What the server refuses is a value to the library, and an error to us.
        answer?.extract_error()
    }
}

/// What is sent to a server at once.
#[derive(Clone, Copy)]
enum Question<'a> {
    One(&'a Cmd),
    Script(&'a Script, &'a Args),
}

impl Way {
    fn new(address: &Address, credentials: &Credentials) -> RedisResult<Self> {
        let client = |host: &(String, u16)| {
            let info = address.info(host, credentials)?;
            match address.is_tls {
                true => Client::build_with_tls(info, credentials.certificates()),
                false => Client::open(info),
            }
        };
        let no_host = (String::new(), 0);
        let first = address.hosts.first().unwrap_or(&no_host);
        match &address.kind {
            Kind::Server | Kind::Socket(_) => Ok(Self::Server(client(first)?)),
            Kind::Cluster => {
                let nodes: RedisResult<Vec<_>> =
                    address.hosts.iter().map(|host| address.info(host, credentials)).collect();
                let mut builder =
                    ClusterClient::builder(nodes?).retries(3).connection_timeout(CONNECT).response_timeout(RESPONSE);
                if address.is_tls {
                    builder = builder.tls(TlsMode::Secure).certs(credentials.certificates());
                }
                Ok(Self::Cluster(Box::new(builder.build()?), client(first)?))
            }
            Kind::Sentinel(master) => {
                let sentinels: RedisResult<Vec<_>> =
                    address.hosts.iter().map(|host| Ok(address.info(host, credentials)?.addr().clone())).collect();
                let settings = address.settings(credentials);
                let mut builder = SentinelClientBuilder::new(sentinels?, master.clone(), SentinelServerType::Master)?
                    .set_client_to_redis_db(address.database);
                if let Some(username) = settings.username() {
                    builder = builder.set_client_to_redis_username(username);
                }
                if let Some(password) = settings.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if address.is_tls {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(credentials.certificates())
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_certificates(credentials.certificates());
                }
                Ok(Self::Sentinel(Box::new(Mutex::new(builder.build()?))))
            }
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(RESPONSE));
        let client = match self {
            Self::Cluster(client, _) => return Ok(Connection::Cluster(client.get_async_connection().await?)),
            Self::Server(client) => client.clone(),
            Self::Sentinel(client) => client.lock().await.async_get_client().await?,
        };
        Ok(Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

impl Link {
    /// The way to `address`. Nothing is connected yet.
    pub(super) fn new(address: &Address, credentials: &Credentials) -> Result<Self> {
        // Whoever was first to choose how TLS is computed has chosen for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let way = Way::new(address, credentials).map_err(|error| unreachable(&error))?;
        Ok(Self { way, ask_for: ASK_FOR, connection: Mutex::new(None), made: AtomicU64::new(0) })
    }

    /// The same way, for questions that are given up after `ask_for`.
    pub(super) fn within(mut self, ask_for: Duration) -> Self {
        self.ask_for = ask_for;
        self
    }

    /// How many connections were made so far: another number means another connection.
    pub(super) fn connections(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }

    /// Whether keys must be sent to the server that holds them.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.way, Way::Cluster(..))
    }

    /// A connection that listens to `channel`.
    pub(super) async fn listen(&self, channel: &str) -> RedisResult<PubSub> {
        let client = match &self.way {
            Way::Server(client) | Way::Cluster(_, client) => client.clone(),
            Way::Sentinel(client) => client.lock().await.async_get_client().await?,
        };
        let mut listener = client.get_async_pubsub().await?;
        listener.subscribe(channel).await?;
        Ok(listener)
    }

    /// Runs a script, again and again until there is an answer or time is up.
    pub(super) async fn run(&self, script: &Script, args: &Args) -> Result<Value> {
        self.persist(Question::Script(script, args)).await
    }

    /// Runs the script that leases a job. An answer that is lost is asked for again as a repeated request, so that the
    /// job that was leased is not leased by nobody: `repeats` is where the arguments say so.
    pub(super) async fn run_lease(&self, script: &Script, args: Args, repeats: usize) -> Result<Value> {
        let by_digest = script.by_digest(&args);
        let first = match self.connection().await {
            Ok(mut connection) => connection.send(&by_digest).await,
            Err(error) => Err(error),
        };
        match first {
            Ok(value) => Ok(value),
            Err(error) if is_unknown(&error) => self.run(script, &args).await,
            Err(error) if may_pass(&error) => {
                if breaks_connection(&error) {
                    *self.connection.lock().await = None;
                }
                self.run(script, &args.with_text(repeats, "1")).await
            }
            Err(error) => Err(refused(&error)),
        }
    }

    /// Runs a command that is safe to repeat, again and again until there is an answer or time is up.
    pub(super) async fn ask(&self, cmd: &Cmd) -> Result<Value> {
        self.persist(Question::One(cmd)).await
    }

    /// Runs a command once; the library's own answer.
    pub(super) async fn ask_once(&self, cmd: &Cmd) -> RedisResult<Value> {
        self.connection().await?.send(cmd).await
    }

    /// Sends a question until it is answered. A server that does not know the script gets its text.
    async fn persist(&self, question: Question<'_>) -> Result<Value> {
        let started = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let error = match self.send(question).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if breaks_connection(&error) {
                *self.connection.lock().await = None;
            }
            if !may_pass(&error) || started.elapsed() + pause > self.ask_for {
                return Err(refused(&error));
            }
            tracing::debug!(%error, "asked again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn send(&self, question: Question<'_>) -> RedisResult<Value> {
        let mut connection = self.connection().await?;
        match question {
            Question::One(cmd) => connection.send(cmd).await,
            Question::Script(script, args) => match connection.send(&script.by_digest(args)).await {
                Err(error) if is_unknown(&error) => connection.send(&script.by_text(args)).await,
                answer => answer,
            },
        }
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let connection = self.way.connect().await?;
        self.made.fetch_add(1, Ordering::SeqCst);
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

/// Whether the server has not seen the script yet, or has forgotten it.
fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether another connection is needed: this one is broken, or leads to a server that is not the master any more.
fn breaks_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown))
}

/// Whether the same question may be answered later.
fn may_pass(error: &RedisError) -> bool {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return false;
    }
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    let in_transition = [Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain];
    breaks_connection(error)
        || error.is_timeout()
        || matches!(error.kind(), ErrorKind::Server(kind) if in_transition.contains(&kind))
        || matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::NoValidReplicasFoundBySentinel
                | ErrorKind::MasterNameNotFoundBySentinel
        )
}

/// What an answer that is none means to the store's callers.
fn refused(error: &RedisError) -> StoreError {
    match error.code() {
        // The limit of memory: nothing was written.
        Some("OOM") => StoreError::Full(Room::Memory),
        // Its disk is full or fails, and it takes no writes until that is mended.
        Some("MISCONF") => StoreError::Disk(error.to_string()),
        _ if error.kind() == ErrorKind::AuthenticationFailed => StoreError::Storage(
            "Redis does not take the user name or password; set --redis-username and PRELIM_REDIS_PASSWORD".to_owned(),
        ),
        _ if may_pass(error) => unreachable(error),
        _ => StoreError::Storage(error.to_string()),
    }
}

fn unreachable(error: &RedisError) -> StoreError {
    StoreError::Unreachable(error.to_string())
}
