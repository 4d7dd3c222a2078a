//! An association that we request (PS3.8 section 7.1), from its request to its release.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dicom_ul::pdu::{
    AbortRQServiceProviderReason, AbortRQSource, AssociationAC, AssociationRQ, Pdu, PresentationContextProposed,
    PresentationContextResultReason, RequestorRoles, UserVariableItem,
};
use prelim_imaging::Limits;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

use super::error::{self, Break, ScuError};
use super::node::Node;
use crate::dimse::command::Command;
use crate::dimse::message::{Assembler, Message};
use crate::dimse::wire::{Wire, WireError};
use crate::dimse::{APPLICATION_CONTEXT, MEMORY_UNIT, our_variables, peer_limit};

/// Presentation contexts that an association can have: their ids are the odd numbers of a byte.
pub const MAX_CONTEXTS: usize = 128;
/// How long a peer may take to answer a release: what matters is answered by then.
const RELEASE: Duration = Duration::from_secs(5);

type Line = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A presentation context that we propose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// SOP class.
    pub sop_class: String,
    /// Transfer syntaxes, the one wanted most first.
    pub transfer_syntaxes: Vec<String>,
    /// Whether we want to be the SCP of it, as a C-GET needs (PS3.7 section D.3.3.4).
    pub as_scp: bool,
}

impl Proposed {
    /// A context in which we are the SCU.
    pub fn new(sop_class: &str, transfer_syntaxes: &[&str]) -> Self {
        let transfer_syntaxes = transfer_syntaxes.iter().map(|uid| (*uid).to_owned()).collect();
        Self { sop_class: sop_class.to_owned(), transfer_syntaxes, as_scp: false }
    }
}

/// A presentation context that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) id: u8,
    pub(super) sop_class: String,
    pub(super) transfer_syntax: String,
}

/// An open association. Dropped without [`Association::release`], the connection closes.
pub struct Association {
    wire: Wire<Line>,
    node: String,
    max_pdu_bytes: u32,
    accepted: Vec<Accepted>,
    /// Contexts that were not accepted: SOP class, why, and whether for good.
    refused: Vec<(String, String, bool)>,
    assembler: Assembler,
    /// Fragments of a PDU that were not looked at yet.
    waiting: std::collections::VecDeque<dicom_ul::pdu::PDataValue>,
    last_message_id: u16,
}

impl Association {
    /// Opens an association with `node` for these contexts, at most [`MAX_CONTEXTS`]. What it brings takes its memory from
    /// `memory`, in units of 1 MiB.
    ///
    /// # Errors
    /// It cannot be reached, says no, or says nothing.
    pub async fn open(node: &Node, contexts: &[Proposed], memory: Arc<Semaphore>) -> Result<Self, ScuError> {
        debug_assert!(contexts.len() <= MAX_CONTEXTS && MEMORY_UNIT == 1 << 20);
        let line = connect(node).await?;
        let mut wire = Wire::new(line, node.max_pdu_bytes, node.times.answer);
        let name = node.to_string();
        let broken = |source: WireError| ScuError::Broken { node: name.clone(), source: Break(source) };
        wire.send(&Pdu::AssociationRQ(request(node, contexts))).await.map_err(|error| broken(error.into()))?;
        let answer = wire.receive().await;
        let accepted = match answer {
            Ok(Pdu::AssociationAC(accepted)) => accepted,
            Ok(Pdu::AssociationRJ(rejected)) => {
                wire.close().await;
                return Err(ScuError::Rejected { node: name, words: error::rejection(&rejected) });
            }
            Ok(Pdu::AbortRQ { source }) => return Err(ScuError::Aborted { node: name, words: error::abort(&source) }),
            Ok(_) => {
                let what = "the association request with a PDU that does not belong there".to_owned();
                return Err(ScuError::Unexpected { node: name, what });
            }
            Err(WireError::Silence(seconds)) => {
                return Err(ScuError::Late { node: name, what: "the association request", seconds });
            }
            Err(error) => return Err(broken(error)),
        };
        wire.set_idle(node.times.idle);
        let max_pdu_bytes = peer_limit(&accepted.user_variables);
        let (accepted, refused) = agreed(contexts, &accepted);
        Ok(Self {
            wire,
            node: name,
            max_pdu_bytes,
            accepted,
            refused,
            assembler: Assembler::new(Limits::default().max_object_bytes, memory),
            waiting: std::collections::VecDeque::new(),
            last_message_id: 0,
        })
    }

    /// Whom it is with, for people.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The contexts of a SOP class that were accepted.
    pub(super) fn contexts<'a>(&'a self, sop_class: &'a str) -> impl Iterator<Item = &'a Accepted> {
        self.accepted.iter().filter(move |context| context.sop_class == sop_class)
    }

    /// The context with this id.
    pub(super) fn context(&self, id: u8) -> Option<&Accepted> {
        self.accepted.iter().find(|context| context.id == id)
    }

    /// Whether a context of the SOP class was accepted.
    pub fn takes(&self, sop_class: &str) -> bool {
        self.contexts(sop_class).next().is_some()
    }

    /// Why no context of the SOP class can be used; `what` is the class in words.
    pub(super) fn refusal(&self, sop_class: &str, what: impl Into<String>) -> ScuError {
        let found: Vec<_> = self.refused.iter().filter(|(class, ..)| class == sop_class).collect();
        let is_final = !found.is_empty() && found.iter().all(|(.., is_final)| *is_final);
        let mut words: Vec<&str> = found.iter().map(|(_, words, _)| words.as_str()).collect();
        words.dedup();
        let words = if words.is_empty() { "it accepts no context for it".to_owned() } else { words.join("; ") };
        ScuError::Refused { node: self.node.clone(), what: what.into(), words, is_final }
    }

    /// Sends a request, which gets the next message id; the id.
    pub(super) async fn request(
        &mut self,
        context: u8,
        mut command: Command,
        data_set: Option<&[u8]>,
    ) -> Result<u16, ScuError> {
        self.last_message_id = self.last_message_id.wrapping_add(1).max(1);
        command.message_id = Some(self.last_message_id);
        command.has_data_set = data_set.is_some();
        self.send(context, &command, data_set).await?;
        Ok(self.last_message_id)
    }

    /// Sends a command, with its data set where it has one.
    pub(super) async fn send(
        &mut self,
        context: u8,
        command: &Command,
        data_set: Option<&[u8]>,
    ) -> Result<(), ScuError> {
        let sent = self.wire.send_message(context, &command.write(), data_set, self.max_pdu_bytes).await;
        sent.map_err(|error| self.broken(error.into()))
    }

    /// The next message of the peer. `what` is what it should answer.
    pub(super) async fn receive(&mut self, what: &'static str) -> Result<Message, ScuError> {
        loop {
            while let Some(fragment) = self.waiting.pop_front() {
                if let Some(message) = self.assembler.push(fragment).map_err(|error| self.broken(error.into()))? {
                    return Ok(message);
                }
            }
            match self.wire.receive().await {
                Ok(Pdu::PData { data }) => self.waiting.extend(data),
                Ok(Pdu::AbortRQ { source }) => {
                    return Err(ScuError::Aborted { node: self.node.clone(), words: error::abort(&source) });
                }
                Ok(Pdu::ReleaseRQ) => {
                    let what = format!("{what} with a release");
                    return Err(ScuError::Unexpected { node: self.node.clone(), what });
                }
                Ok(_) => {
                    let what = format!("{what} with a PDU that does not belong there");
                    return Err(ScuError::Unexpected { node: self.node.clone(), what });
                }
                Err(WireError::Silence(seconds)) => {
                    return Err(ScuError::Late { node: self.node.clone(), what, seconds });
                }
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// The peer answered what was not asked.
    pub(super) fn unexpected(&self, what: impl Into<String>) -> ScuError {
        ScuError::Unexpected { node: self.node.clone(), what: what.into() }
    }

    fn broken(&self, error: WireError) -> ScuError {
        ScuError::Broken { node: self.node.clone(), source: Break(error) }
    }

    /// Ends the association. What was asked has been answered, so that nothing depends on how this goes.
    pub async fn release(mut self) {
        self.wire.set_idle(RELEASE);
        if self.wire.send(&Pdu::ReleaseRQ).await.is_ok() {
            // A peer may send what it was about to say before it answers.
            while let Ok(Pdu::PData { .. }) = self.wire.receive().await {}
        }
        self.wire.close().await;
    }

    /// Ends the association in the middle of something.
    pub async fn abort(mut self) {
        let source = AbortRQSource::ServiceProvider(AbortRQServiceProviderReason::ReasonNotSpecified);
        let _ = self.wire.send(&Pdu::AbortRQ { source }).await;
        self.wire.close().await;
    }
}

/// A connection to the node, with TLS where it has it.
async fn connect(node: &Node) -> Result<Line, ScuError> {
    let (name, seconds) = (node.to_string(), node.times.connect.as_secs());
    let late = |what| ScuError::Late { node: name.clone(), what, seconds };
    let connecting = TcpStream::connect((node.host.as_str(), node.port));
    let stream = tokio::time::timeout(node.times.connect, connecting).await.map_err(|_| late("the connection"))?;
    let stream = stream.map_err(|source| ScuError::Connect { node: name.clone(), source })?;
    // Small messages go out at once; a socket that refuses that still works.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &node.tls else { return Ok(Either::Left(stream)) };
    let wrong = |source: io::Error| ScuError::Tls { node: name.clone(), source };
    let server = ServerName::try_from(node.host.clone()).map_err(|error| wrong(io::Error::other(error)))?;
    let handshake = TlsConnector::from(tls.clone()).connect(server, stream);
    let stream = tokio::time::timeout(node.times.connect, handshake).await.map_err(|_| late("TLS"))?;
    Ok(Either::Right(Box::new(stream.map_err(wrong)?)))
}

/// The request for these contexts.
fn request(node: &Node, contexts: &[Proposed]) -> AssociationRQ {
    let mut user_variables = our_variables(node.max_pdu_bytes);
    let mut classes: Vec<&str> = contexts.iter().filter(|each| each.as_scp).map(|each| &*each.sop_class).collect();
    classes.dedup();
    for class in classes {
        let roles = RequestorRoles { scu: false, scp: true };
        user_variables.push(UserVariableItem::ScuScpRoleSelectionSubItem(class.to_owned(), roles));
    }
    let proposed = |(at, context): (usize, &Proposed)| PresentationContextProposed {
        id: id_of(at),
        abstract_syntax: context.sop_class.clone(),
        transfer_syntaxes: context.transfer_syntaxes.clone(),
    };
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: node.calling.clone(),
        called_ae_title: node.called.clone(),
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts.iter().enumerate().take(MAX_CONTEXTS).map(proposed).collect(),
        user_variables,
    }
}

fn id_of(at: usize) -> u8 {
    (at as u8).wrapping_mul(2).wrapping_add(1)
}

/// What was agreed on: contexts that can be used, and the others with the reason.
fn agreed(proposed: &[Proposed], answer: &AssociationAC) -> (Vec<Accepted>, Vec<(String, String, bool)>) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (at, context) in proposed.iter().enumerate().take(MAX_CONTEXTS) {
        let id = id_of(at);
        let Some(result) = answer.presentation_contexts.iter().find(|result| result.id == id) else {
            refused.push((context.sop_class.clone(), "not answered".to_owned(), false));
            continue;
        };
        let syntax = result.transfer_syntax.trim_end_matches(['\0', ' ']);
        let is_taken = result.reason == PresentationContextResultReason::Acceptance
            && context.transfer_syntaxes.iter().any(|proposed| proposed == syntax);
        if is_taken {
            let (sop_class, transfer_syntax) = (context.sop_class.clone(), syntax.to_owned());
            accepted.push(Accepted { id, sop_class, transfer_syntax });
        } else {
            let (words, is_final) = error::refusal(&result.reason, &context.transfer_syntaxes);
            refused.push((context.sop_class.clone(), words, is_final));
        }
    }
    (accepted, refused)
}

#[cfg(test)]
mod tests {
    use dicom_ul::pdu::PresentationContextResult;

    use super::super::node::TlsFiles;
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    #[test]
    fn contexts_are_numbered_and_roles_asked_for() {
        let node = Node::parse("dicom://PACS@host", "PRELIM", &TlsFiles::default()).unwrap();
        let get = Proposed { as_scp: true, ..Proposed::new(CT, &[EXPLICIT]) };
        let request = request(&node, &[Proposed::new("1.2", &[EXPLICIT]), get.clone(), get]);
        assert_eq!(request.presentation_contexts.iter().map(|each| each.id).collect::<Vec<_>>(), [1, 3, 5]);
        let roles = request.user_variables.iter().filter(|each| {
            matches!(each, UserVariableItem::ScuScpRoleSelectionSubItem(class, roles) if class == CT && roles.scp && !roles.scu)
        });
        assert_eq!(roles.count(), 1);
        assert_eq!(id_of(MAX_CONTEXTS - 1), 255);
    }

    #[test]
    fn an_answer_is_taken_context_by_context() {
        use PresentationContextResultReason as Reason;
        let result =
            |id, reason, syntax: &str| PresentationContextResult { id, reason, transfer_syntax: syntax.to_owned() };
        let answer = AssociationAC {
            protocol_version: 1,
            calling_ae_title: String::new(),
            called_ae_title: String::new(),
            application_context_name: String::new(),
            presentation_contexts: vec![
                result(1, Reason::Acceptance, "1.2.840.10008.1.2.1\0"),
                result(3, Reason::Acceptance, "1.2.840.10008.1.2.4.70"),
                result(5, Reason::AbstractSyntaxNotSupported, ""),
            ],
            user_variables: Vec::new(),
        };
        let proposed: Vec<_> =
            [CT, CT, "1.2.3", "1.2.4"].iter().map(|class| Proposed::new(class, &[EXPLICIT])).collect();
        let (accepted, refused) = agreed(&proposed, &answer);
        let context = Accepted { id: 1, sop_class: CT.to_owned(), transfer_syntax: EXPLICIT.to_owned() };
        assert_eq!(accepted, [context]);
        // A syntax that was not proposed, a class that is not taken, and no answer at all.
        assert_eq!(refused.iter().map(|(class, ..)| &**class).collect::<Vec<_>>(), [CT, "1.2.3", "1.2.4"]);
        assert_eq!(refused.iter().map(|(.., is_final)| *is_final).collect::<Vec<_>>(), [true, true, false]);
    }
}
