//! Connections in: TCP, TLS where it is set, and who is at the other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::access::PeerCertificate;
use crate::audit::{Act, Audit, Event};
use crate::tls::ServerTls;

/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Handshakes under way at once; more connections wait to be accepted.
const MAX_HANDSHAKES: usize = 256;
/// Connections that may wait for the server to take them.
const BACKLOG: usize = 64;
/// Pause after the system had no connection to give: it may be out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// Its certificate, verified.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// It came by the door for this process's own worker.
    pub is_inside: bool,
}

/// A door: a socket, and how it is guarded.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) is_inside: bool,
}

/// A connection, with or without TLS.
pub(crate) struct Connection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    peer: Peer,
}

/// The connections of all doors, until what this returns is dropped. A handshake holds up no other connection.
pub(crate) fn connections(doors: Vec<Door>, audit: &Audit) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    for door in doors {
        tokio::spawn(accept(door, audit.clone(), sender.clone()));
    }
    ReceiverStream::new(receiver)
}

/// How the connections of a door are served.
pub(crate) struct Serving<'a> {
    /// What they are, for the log.
    pub(crate) what: &'static str,
    /// Connections at once; more are closed.
    pub(crate) most: usize,
    /// Cancelled when no more are to be taken.
    pub(crate) stopping: CancellationToken,
    /// How long open ones may last then.
    pub(crate) grace: Duration,
    pub(crate) audit: &'a Audit,
}

/// Serves each connection of a door by `serve`, until told to stop; then lets open ones end.
pub(crate) async fn serve_each<Served>(door: Door, serving: Serving<'_>, mut serve: impl FnMut(Connection) -> Served)
where
    Served: Future<Output = ()> + Send + 'static,
{
    let what = serving.what;
    let mut connections = connections(vec![door], serving.audit);
    let mut open = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = connections.next() => next,
            () = serving.stopping.cancelled() => break,
        };
        while open.try_join_next().is_some() {}
        let Some(Ok(connection)) = next else { continue };
        if open.len() >= serving.most {
            tracing::warn!(connections = open.len(), "{what} connection closed: too many");
            continue;
        }
        open.spawn(serve(connection));
    }
    drop(connections);
    let ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(serving.grace, ended).await.is_err() {
        tracing::info!("{what} connections cut off");
    }
}

async fn accept(door: Door, audit: Audit, sender: mpsc::Sender<io::Result<Connection>>) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let Ok(place) = handshakes.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no connection accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Small messages go out at once; a socket that refuses that still works.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address: Some(address), certificate: None, is_inside: door.is_inside };
        let Some(tls) = &door.tls else {
            let _ = sender.send(Ok(Connection { stream: Either::Left(stream), peer })).await;
            continue;
        };
        let (acceptor, audit, sender) = (TlsAcceptor::from(tls.get()), audit.clone(), sender.clone());
        tokio::spawn(async move {
            match handshake(acceptor, stream, peer).await {
                Ok(connection) => {
                    let _ = sender.send(Ok(connection)).await;
                }
                Err(Some(reason)) => {
                    let event = Event { reason: Some(reason), address: Some(address), ..Event::of(Act::NodeRefused) };
                    audit.refused(event).await;
                }
                Err(None) => {}
            }
            drop(place);
        });
    }
}

/// TLS over `stream`, or why there is none. Nothing to say of who hangs up in the middle, as probes of ports do.
async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, mut peer: Peer) -> Result<Connection, Option<String>> {
    let accepted = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if is_hangup(&error) => return Err(None),
        Ok(Err(error)) => return Err(Some(format!("TLS handshake: {error}"))),
        Err(_) => return Err(Some("TLS handshake took too long".to_owned())),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    if let Some(der) = certificate {
        let read = PeerCertificate::read(der).ok_or_else(|| Some("client certificate is not understood".to_owned()))?;
        peer.certificate = Some(Arc::new(read));
    }
    Ok(Connection { stream: Either::Right(Box::new(stream)), peer })
}

fn is_hangup(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl Connection {
    /// Where its other end is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.peer.address
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
