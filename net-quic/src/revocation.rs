//! Certificates that were taken back before they ended: lists signed by the authority.

use crate::error::NetError;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use std::{collections::BTreeSet, fs, path::Path};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// The numbers of revoked certificates. Numbers are drawn from 2¹²⁷, so that no two authorities
/// share one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Revoked(BTreeSet<Vec<u8>>);

impl Revoked {
    /// Reads lists. Whether an authority of ours signed them is checked by TLS, at each handshake.
    ///
    /// # Errors
    /// When one is no list.
    pub(crate) fn of(lists: &[CertificateRevocationListDer<'_>]) -> Result<Self, NetError> {
        let mut revoked = BTreeSet::new();
        for list in lists {
            let (_, list) = CertificateRevocationList::from_der(list).map_err(|error| {
                NetError::Tls(format!("a list of revoked certificates: {error}"))
            })?;
            let numbers = list.iter_revoked_certificates();
            revoked.extend(numbers.map(|one| number(one.raw_serial())));
        }
        Ok(Self(revoked))
    }

    /// Whether a certificate is among them. One that cannot be read is not.
    pub(crate) fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, parsed)| self.0.contains(&number(parsed.raw_serial())))
    }
}

/// Without the zeros that an encoder may put in front.
fn number(serial: &[u8]) -> Vec<u8> {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial[zeros..].to_vec()
}

/// All lists of a PEM file, at least one.
pub(crate) fn read(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, NetError> {
    let text = fs::read(file).map_err(|source| NetError::File {
        what: "read",
        file: file.to_owned(),
        source,
    })?;
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(NetError::Pem {
            file: file.to_owned(),
            what: "list of revoked certificates",
        }),
    }
}
