//! What an association is about: its request answered (PS3.8 sections 7.1 and 9.3, pure).

use std::net::IpAddr;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceUserReason, AssociationRJSource, AssociationRQ, PresentationContextProposed,
    PresentationContextResult, PresentationContextResultReason, UserVariableItem,
};
use prelim_proto::ids::Tenant;

use super::peers::{Peers, Stranger};
use crate::dimse::{APPLICATION_CONTEXT, COMMITMENT, PERFORMED_STEP, our_variables, peer_limit, syntaxes};

/// What is named where nothing was chosen: the field must hold a transfer syntax, and nobody looks at it.
const ANY_SYNTAX: &str = "1.2.840.10008.1.2";

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) id: u8,
    pub(super) sop_class: String,
    pub(super) transfer_syntax: String,
}

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agreement {
    /// The peer's title.
    pub(super) calling: String,
    /// Whose studies it sends.
    pub(super) tenant: Tenant,
    /// The contexts accepted.
    pub(super) contexts: Vec<Context>,
    /// Why others were not, in words for the log.
    pub(super) refused: Vec<String>,
    /// Longest PDU that the peer takes, in bytes.
    pub(super) max_pdu_bytes: u32,
}

/// A request that is rejected, and why, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) pdu: AssociationRJ,
    pub(super) why: String,
}

/// Answers a request that came from `from`. We are `aet` and take PDUs of up to `max_pdu_bytes`.
pub(super) fn answer(
    request: AssociationRQ,
    from: Option<IpAddr>,
    aet: &str,
    peers: &Peers,
    max_pdu_bytes: u32,
) -> Result<(Agreement, AssociationAC), Rejection> {
    use AssociationRJServiceUserReason as Why;
    let (calling, called) = (request.calling_ae_title.trim(), request.called_ae_title.trim());
    // Version 1 is bit 0; other bits are of versions that we do not know (PS3.8 section 9.3.2).
    if request.protocol_version & 1 == 0 {
        let source = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
        return Err(rejection(
            AssociationRJSource::ServiceProviderASCE(source),
            format!("protocol version {}", request.protocol_version),
        ));
    }
    let context_name = request.application_context_name.trim_end_matches(['\0', ' ']);
    if context_name != APPLICATION_CONTEXT {
        return Err(refuse(Why::ApplicationContextNameNotSupported, format!("application context {context_name:?}")));
    }
    if called != aet {
        return Err(refuse(Why::CalledAETitleNotRecognized, format!("it called {called:?}, and we are {aet:?}")));
    }
    let tenant = peers.tenant_of(calling, from).map_err(|stranger: Stranger| {
        refuse(Why::CallingAETitleNotRecognized, format!("{calling:?} is not let in: {stranger}"))
    })?;
    let mut agreement = Agreement {
        calling: calling.to_owned(),
        tenant,
        contexts: Vec::new(),
        refused: Vec::new(),
        max_pdu_bytes: peer_limit(&request.user_variables),
    };
    // Who took our drafts reports on an association of its own, in which it is the SCP (PS3.4 section J.3.3).
    let roles = request.user_variables.iter().filter(|each| {
        matches!(each, UserVariableItem::ScuScpRoleSelectionSubItem(class, _) if class.trim_end_matches('\0') == COMMITMENT)
    });
    let variables = our_variables(max_pdu_bytes).into_iter().chain(roles.cloned()).collect();
    let results = request.presentation_contexts.into_iter().map(|proposed| agreement.consider(proposed)).collect();
    let accepted = AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: results,
        user_variables: variables,
    };
    Ok((agreement, accepted))
}

impl Agreement {
    /// Answers a proposed context, and notes what was agreed on.
    fn consider(&mut self, proposed: PresentationContextProposed) -> PresentationContextResult {
        use PresentationContextResultReason as Reason;
        let sop_class = proposed.abstract_syntax.trim_end_matches(['\0', ' ']);
        let chosen = syntaxes::choose(&proposed.transfer_syntaxes);
        let reason = match chosen {
            _ if ![uids::VERIFICATION, COMMITMENT, PERFORMED_STEP].contains(&sop_class)
                && !syntaxes::is_stored(sop_class) =>
            {
                self.refused.push(format!("SOP class {sop_class} is not stored here"));
                Reason::AbstractSyntaxNotSupported
            }
            None => {
                let names = syntaxes::names(&proposed.transfer_syntaxes);
                self.refused.push(format!("SOP class {sop_class}: none of its transfer syntaxes is decoded ({names})"));
                Reason::TransferSyntaxesNotSupported
            }
            Some(_) => Reason::Acceptance,
        };
        let transfer_syntax = match (&reason, chosen) {
            (Reason::Acceptance, Some(chosen)) => {
                let (sop_class, transfer_syntax) = (sop_class.to_owned(), chosen.to_owned());
                self.contexts.push(Context { id: proposed.id, sop_class, transfer_syntax });
                chosen
            }
            _ => ANY_SYNTAX,
        };
        PresentationContextResult { id: proposed.id, reason, transfer_syntax: transfer_syntax.to_owned() }
    }
}

fn refuse(reason: AssociationRJServiceUserReason, why: String) -> Rejection {
    rejection(AssociationRJSource::ServiceUser(reason), why)
}

fn rejection(source: AssociationRJSource, why: String) -> Rejection {
    Rejection { pdu: AssociationRJ { result: AssociationRJResult::Permanent, source }, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

    fn request(called: &str, contexts: &[(&str, &[&str])]) -> AssociationRQ {
        let proposed = |(at, (sop_class, syntaxes)): (usize, &(&str, &[&str]))| PresentationContextProposed {
            id: at as u8 * 2 + 1,
            abstract_syntax: (*sop_class).to_owned(),
            transfer_syntaxes: syntaxes.iter().map(|syntax| (*syntax).to_owned()).collect(),
        };
        AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "CT1".to_owned(),
            called_ae_title: called.to_owned(),
            application_context_name: APPLICATION_CONTEXT.to_owned(),
            presentation_contexts: contexts.iter().enumerate().map(proposed).collect(),
            user_variables: vec![UserVariableItem::MaxLength(16_384)],
        }
    }

    fn ask(request: AssociationRQ) -> Result<(Agreement, AssociationAC), Rejection> {
        answer(request, None, "PRELIM", &Peers::Any, 65_536)
    }

    #[test]
    fn contexts_are_taken_one_by_one_and_refusals_have_a_reason() {
        let (explicit, mpeg) = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.100");
        let contexts: &[(&str, &[&str])] =
            &[(uids::VERIFICATION, &[explicit]), (CT, &[mpeg, explicit]), (CT, &[mpeg]), (MR, &[explicit])];
        let (agreement, accepted) = ask(request("PRELIM", contexts)).unwrap();
        let reasons: Vec<_> =
            accepted.presentation_contexts.iter().map(|each| (each.id, each.reason.clone())).collect();
        use PresentationContextResultReason as Reason;
        assert_eq!(
            reasons,
            [
                (1, Reason::Acceptance),
                (3, Reason::Acceptance),
                (5, Reason::TransferSyntaxesNotSupported),
                (7, Reason::AbstractSyntaxNotSupported)
            ]
        );
        assert_eq!(agreement.contexts[1].transfer_syntax, explicit);
        assert_eq!(agreement.max_pdu_bytes, 16_384);
        assert!(agreement.refused[0].contains("MPEG2") && agreement.refused[1].contains(MR), "{agreement:?}");
    }

    #[test]
    fn strangers_and_wrong_numbers_are_rejected_with_the_reason() {
        let wrong = ask(request("OTHER", &[])).unwrap_err();
        let reason = AssociationRJServiceUserReason::CalledAETitleNotRecognized;
        assert_eq!(wrong.pdu.source, AssociationRJSource::ServiceUser(reason));
        assert!(wrong.why.contains("OTHER") && wrong.why.contains("PRELIM"), "{}", wrong.why);
        let unknown = AssociationRQ { application_context_name: "1.2.3".to_owned(), ..request("PRELIM", &[]) };
        assert!(ask(unknown).unwrap_err().why.contains("1.2.3"));
        let version = AssociationRQ { protocol_version: 2, ..request("PRELIM", &[]) };
        assert!(ask(version).is_err());
    }
}
