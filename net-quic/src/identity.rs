//! Who somebody is: what a certificate of this cluster says, and nothing else.

use crate::error::{NameError, NetError};
use crate::revocation;
use consensus_core::{ClusterId, NodeId};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject,
};
use std::{
    fmt, fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What the holder of a certificate may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Be this node towards its peers.
    Node(NodeId),
    /// Call the service.
    Client,
    /// Call the service, look inside, and change emulated links.
    Operator,
    /// Issue certificates; connects nowhere.
    Authority,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node/{node}"),
            Self::Client => f.write_str("client"),
            Self::Operator => f.write_str("operator"),
            Self::Authority => f.write_str("authority"),
        }
    }
}

/// What a certificate names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    /// The cluster.
    pub cluster: ClusterId,
    /// The role in it.
    pub role: Role,
    /// When the certificate ends to be valid.
    pub not_after: SystemTime,
}

impl Name {
    /// Reads the one subject-alternative name `consensus://cluster/role`. What SNI or the common
    /// name say is somebody's wish and proves nothing.
    ///
    /// # Errors
    /// When the certificate carries no such name, or several.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, NameError> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| NameError::Unparsable)?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => &names.value.general_names[..],
            Ok(None) => &[],
            Err(_) => return Err(NameError::Unparsable),
        };
        let ours: Vec<&str> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix("consensus://"),
                _ => None,
            })
            .collect();
        let [uri] = ours[..] else {
            return Err(NameError::NotOneName(ours.len()));
        };
        let (cluster, role) =
            parse_uri(uri).ok_or_else(|| NameError::Malformed(format!("consensus://{uri}")))?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let not_after = UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self {
            cluster,
            role,
            not_after,
        })
    }
}

/// Exactly what [`uri`] writes: no other spelling of the same identity is accepted.
fn parse_uri(text: &str) -> Option<(ClusterId, Role)> {
    let (cluster, role) = text.split_once('/')?;
    let cluster = ClusterId(u128::from_str_radix(cluster, 16).ok()?);
    let role = match role {
        "client" => Role::Client,
        "operator" => Role::Operator,
        "authority" => Role::Authority,
        _ => Role::Node(NodeId(role.strip_prefix("node/")?.parse().ok()?)),
    };
    (format!("consensus://{text}") == uri(cluster, role)).then_some((cluster, role))
}

/// The name in a certificate.
pub(crate) fn uri(cluster: ClusterId, role: Role) -> String {
    format!("consensus://{cluster}/{role}")
}

/// The name to dial: TLS then verifies the node, not merely its authority. Resolves nowhere.
pub(crate) fn dns(cluster: ClusterId, node: NodeId) -> String {
    format!("n{node}.{cluster}.consensus.invalid")
}

/// A certificate with its key, and the authorities that others are judged by.
pub struct Identity {
    name: Name,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trust: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
}

// By hand: a key must never reach a log.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("trusted", &self.trust.len())
            .field("revoked", &self.revoked.len())
            .finish_non_exhaustive()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            trust: self.trust.clone(),
            revoked: self.revoked.clone(),
        }
    }
}

impl Identity {
    /// Puts an identity together. `trust` may hold several authorities: while one is replaced, old
    /// and new.
    ///
    /// # Errors
    /// When the first certificate of `chain` names no identity.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        trust: Vec<CertificateDer<'static>>,
    ) -> Result<Self, NetError> {
        let first = chain.first().ok_or(NameError::Unparsable)?;
        let name = Name::of(first)?;
        Ok(Self {
            name,
            chain,
            key,
            trust,
            revoked: Vec::new(),
        })
    }

    /// Reads PEM files. `trust` may hold several certificates.
    ///
    /// # Errors
    /// When a file cannot be read, holds something else, or the key can be read by others.
    pub fn load(certificate: &Path, key: &Path, trust: &Path) -> Result<Self, NetError> {
        Self::new(
            certificates(certificate)?,
            private_key(key)?,
            certificates(trust)?,
        )
    }

    /// The same identity, which refuses the certificates that the lists in a PEM file revoke.
    ///
    /// # Errors
    /// When the file cannot be read or holds no list.
    pub fn revoking_those_in(self, file: &Path) -> Result<Self, NetError> {
        Ok(self.revoking(revocation::read(file)?))
    }

    /// Writes the certificate, and the key with mode 0600, as PEM.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), NetError> {
        let mut text = String::new();
        for der in &self.chain {
            text.push_str(&pem("CERTIFICATE", der));
        }
        write(certificate, &text, 0o644)?;
        write(key, &pem("PRIVATE KEY", self.key.secret_der()), 0o600)
    }

    /// What the certificate says.
    #[must_use]
    pub const fn name(&self) -> Name {
        self.name
    }

    /// The certificate and what it was issued with.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The private key.
    #[must_use]
    pub const fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The authorities that others are judged by.
    #[must_use]
    pub fn trust(&self) -> &[CertificateDer<'static>] {
        &self.trust
    }

    /// The same identity with other trusted authorities.
    #[must_use]
    pub fn trusting(mut self, trust: Vec<CertificateDer<'static>>) -> Self {
        self.trust = trust;
        self
    }

    /// What refuses certificates before they end.
    #[must_use]
    pub fn revoked(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.revoked
    }

    /// The same identity, which refuses the certificates that these lists revoke. Each list must be
    /// signed by a trusted authority, and speaks for the certificates of that one alone.
    #[must_use]
    pub fn revoking(mut self, lists: Vec<CertificateRevocationListDer<'static>>) -> Self {
        self.revoked = lists;
        self
    }
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let text = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(NetError::Pem {
            file: file.to_owned(),
            what: "certificate",
        }),
    }
}

/// The private key of a PEM file that nobody else can read.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, NetError> {
    let metadata = fs::metadata(file).map_err(|source| NetError::File {
        what: "read",
        file: file.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let file = file.to_owned();
        return Err(NetError::KeyExposed { file, mode });
    }
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|_| NetError::Pem {
        file: file.to_owned(),
        what: "private key",
    })
}

fn read(file: &Path) -> Result<Vec<u8>, NetError> {
    fs::read(file).map_err(|source| NetError::File {
        what: "read",
        file: file.to_owned(),
        source,
    })
}

/// Writes with its permissions from the first byte on: a key is never readable in between.
pub(crate) fn write(file: &Path, text: &str, mode: u32) -> Result<(), NetError> {
    let attempt = || {
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(file)?;
        // A file that existed keeps its old mode otherwise.
        out.set_permissions(fs::Permissions::from_mode(mode))?;
        out.write_all(text.as_bytes())?;
        out.sync_all()
    };
    attempt().map_err(|source| NetError::File {
        what: "write",
        file: file.to_owned(),
        source,
    })
}

/// PEM text of `der`.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(label, der))
}
