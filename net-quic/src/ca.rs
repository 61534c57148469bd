//! The cluster's certificate authority.

use crate::error::{NameError, NetError};
use crate::identity::{self, Identity, Name, Role, dns, uri};
use consensus_core::ClusterId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long a certificate is valid unless said otherwise: 90 days.
pub const VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// Clocks of two machines differ: a certificate is valid from this long before its issue.
const CLOCK_ALLOWANCE: Duration = Duration::from_secs(3600);

/// One authority a cluster. Whoever holds its key can be any node of the cluster.
pub struct ClusterCa {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl std::fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterCa")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl ClusterCa {
    /// Makes a new authority, valid for ten years.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(cluster: ClusterId) -> Result<Self, NetError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let now = SystemTime::now();
        let mut params = authority(cluster, &key);
        validity(&mut params, now - CLOCK_ALLOWANCE, now + 40 * VALIDITY);
        params.serial_number = Some(serial()?);
        let certificate = params.self_signed(&key)?.into();
        Ok(Self {
            cluster,
            certificate,
            key,
        })
    }

    /// Issues a certificate with a new key, valid for [`VALIDITY`] from now.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn issue(&self, role: Role) -> Result<Identity, NetError> {
        let now = SystemTime::now();
        self.issue_between(role, now - CLOCK_ALLOWANCE, now + VALIDITY)
    }

    /// Issues a certificate with a new key, valid between two moments.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn issue_between(
        &self,
        role: Role,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<Identity, NetError> {
        let mut params = CertificateParams::default();
        validity(&mut params, not_before, not_after);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = common_name(&role.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(uri(self.cluster, role).try_into()?)];
        if let Role::Node(node) = role {
            let usage = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.insert(0, usage);
            let name = SanType::DnsName(dns(self.cluster, node).try_into()?);
            params.subject_alt_names.push(name);
        }
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let authority = authority(self.cluster, &self.key);
        let issuer = Issuer::from_params(&authority, &self.key);
        let certificate = params.signed_by(&key, &issuer)?.into();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity::new(vec![certificate], key, vec![self.certificate.clone()])
    }

    /// Signs the list of all certificates that this authority has taken back, each named by an
    /// identity that holds it. A newer list replaces an older one: name all of them again.
    ///
    /// # Errors
    /// When a certificate cannot be parsed, or the system has no randomness to give.
    pub fn revoke(
        &self,
        taken_back: &[&CertificateDer<'_>],
    ) -> Result<CertificateRevocationListDer<'static>, NetError> {
        let now = SystemTime::now();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since = |moment: SystemTime| moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut revoked_certs = Vec::new();
        for certificate in taken_back {
            let (_, parsed) =
                X509Certificate::from_der(certificate).map_err(|_| NameError::Unparsable)?;
            revoked_certs.push(RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: epoch + since(now),
                reason_code: None,
                invalidity_date: None,
            });
        }
        let params = CertificateRevocationListParams {
            this_update: epoch + since(now - CLOCK_ALLOWANCE),
            next_update: epoch + since(now + VALIDITY),
            crl_number: serial()?,
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let authority = authority(self.cluster, &self.key);
        let list = params.signed_by(&Issuer::from_params(&authority, &self.key))?;
        Ok(list.into())
    }

    /// The authority's own certificate: what others have to trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Writes `ca.pem`, and `ca.key` with mode 0600, into `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), NetError> {
        let text = identity::pem("CERTIFICATE", &self.certificate);
        identity::write(&folder.join("ca.pem"), &text, 0o644)?;
        let text = identity::pem("PRIVATE KEY", self.key.serialized_der());
        identity::write(&folder.join("ca.key"), &text, 0o600)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// When a file cannot be read, holds something else, or the key can be read by others.
    pub fn load(folder: &Path) -> Result<Self, NetError> {
        let (file, key_file) = (folder.join("ca.pem"), folder.join("ca.key"));
        let certificate = identity::certificates(&file)?.swap_remove(0);
        let key = identity::private_key(&key_file)?;
        let key = KeyPair::try_from(&key).map_err(|_| NetError::Pem {
            file: key_file,
            what: "private key of the authority",
        })?;
        let cluster = Name::of(&certificate)?.cluster;
        Ok(Self {
            cluster,
            certificate,
            key,
        })
    }
}

/// All that a certificate of the authority says but its validity: an issuer is rebuilt from this.
/// Two authorities of one cluster have names of their own, so that a list of one does not speak for
/// the other's certificates.
fn authority(cluster: ClusterId, key: &KeyPair) -> CertificateParams {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.public_key_raw());
    let mark: String = digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name = common_name(&format!("consensus cluster {cluster} {mark}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if let Ok(name) = uri(cluster, Role::Authority).try_into() {
        params.subject_alt_names = vec![SanType::URI(name)];
    }
    params
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn serial() -> Result<SerialNumber, NetError> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| NetError::Tls("the system has no randomness to give".into()))?;
    bytes[0] &= 0x7f;
    Ok(SerialNumber::from_slice(&bytes))
}

fn validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |moment: SystemTime| moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + since(not_before);
    params.not_after = epoch + since(not_after);
}
