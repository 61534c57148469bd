//! What can go wrong, by name, with the way out.

use consensus_core::NodeId;
use std::{io, net::SocketAddr, path::PathBuf};

/// Why an endpoint, an identity or a certificate authority could not be made. Nothing has been
/// sent; an operator has to change something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Another process holds the port.
    #[error(
        "address {0} is in use: stop the process that holds port {port}, or configure another address",
        port = .0.port()
    )]
    AddressInUse(SocketAddr),
    /// The operating system refused the socket.
    #[error("cannot bind {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file of the identity cannot be read or written.
    #[error("cannot {what} {}: {source}", file.display())]
    File {
        /// Read or write.
        what: &'static str,
        /// Which file.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file holds no PEM section of the kind that is needed.
    #[error("{} holds no readable {what}: issue it anew with the cluster's certificate authority", file.display())]
    Pem {
        /// Which file.
        file: PathBuf,
        /// Certificate or private key.
        what: &'static str,
    },
    /// Others can read the private key.
    #[error(
        "private key {} has mode {mode:o} and can be read by others: chmod 600 it, and issue another if it may have leaked",
        file.display()
    )]
    KeyExposed {
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The certificate does not name what this cluster's certificates name.
    #[error("certificate is not one of this kind of cluster: {0}")]
    NotOurs(#[from] NameError),
    /// The certificate names somebody else.
    #[error("the certificate names {found}, but {expected} was configured")]
    WrongIdentity {
        /// What the certificate says.
        found: String,
        /// What the configuration says.
        expected: String,
    },
    /// The certificate authority could not make a certificate.
    #[error("cannot make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The TLS library refuses this identity.
    #[error("cannot use this identity for TLS: {0}")]
    Tls(String),
}

/// Why a certificate names no identity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not X.509, or cut short.
    #[error("it cannot be parsed")]
    Unparsable,
    /// No subject-alternative name of our scheme, or more than one.
    #[error("it carries {0} names of the form consensus://cluster/role, and must carry one")]
    NotOneName(usize),
    /// The name does not follow the scheme.
    #[error("its name {0} is not of the form consensus://cluster/role")]
    Malformed(String),
}

/// Why a call brought no answer. Whether the operation may have been carried out is
/// [`is_unknown`](Self::is_unknown).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No answer within the time given.
    #[error("no answer in time; it may have been carried out")]
    Timeout,
    /// The connection was lost after the call had been sent.
    #[error("connection to node {0} lost; it may have been carried out")]
    Disconnected(NodeId),
    /// The node could not be reached; nothing was sent.
    #[error("node {node} cannot be reached: {reason}")]
    Unreachable {
        /// Which node.
        node: NodeId,
        /// What the transport says.
        reason: String,
    },
    /// No address is known for the node.
    #[error("no address is known for node {0}")]
    UnknownNode(NodeId),
    /// The call exceeds the node's frame limit; nothing was sent.
    #[error("a call of {size} bytes exceeds the node's limit of {limit}")]
    TooLarge {
        /// Bytes of the frame.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The node understood and refused, for this connection's role or for its wording.
    #[error("the node refused: {0}")]
    Denied(String),
    /// The client has been closed.
    #[error("the client is closed")]
    Closed,
}

impl CallError {
    /// Whether the operation may have been carried out, or may still be. When false, it certainly
    /// was not and a retry is safe.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Timeout | Self::Disconnected(_))
    }
}

/// Why a command for an emulated link is refused. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot read link command `{command}`: {reason}")]
pub struct LinkError {
    /// What was given.
    pub command: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}
