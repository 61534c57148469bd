//! Certificates and keys as files, and errors that name what is wrong.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{CLUSTER, authority, config, node};
use consensus_core::NodeId;
use net_quic::{ClusterCa, Endpoint, Identity, NetError, Role};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

/// A folder of its own for each test, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("net-quic-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn an_authority_read_from_its_files_issues_for_the_same_cluster() {
    let folder = Folder::new("authority");
    let ca = authority();
    ca.save(&folder.0).unwrap();
    let again = ClusterCa::load(&folder.0).unwrap();
    let mut one = node(&ca, 1, 1);
    let mut two = node(&again, 2, 1);
    cluster::introduce(&[&one, &two]);
    two.connected_to(1).await;
    two.say(1, cluster::Message::Beat { number: 1 });
    assert_eq!(one.hear().await.0, NodeId(2));
}

#[test]
fn an_identity_survives_its_files_and_its_key_is_nobody_elses() {
    let folder = Folder::new("identity");
    let ca = authority();
    ca.save(&folder.0).unwrap();
    let identity = ca.issue(Role::Node(NodeId(3))).unwrap();
    let (pem, key) = (folder.file("node-3.pem"), folder.file("node-3.key"));
    identity.save(&pem, &key).unwrap();
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let read = Identity::load(&pem, &key, &folder.file("ca.pem")).unwrap();
    assert_eq!(
        (read.name().cluster, read.name().role),
        (CLUSTER, Role::Node(NodeId(3)))
    );
    assert_eq!(read.key(), identity.key());

    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Identity::load(&pem, &key, &folder.file("ca.pem")).unwrap_err();
    assert!(
        matches!(error, NetError::KeyExposed { mode: 0o640, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn an_error_names_the_file() {
    let folder = Folder::new("errors");
    authority().save(&folder.0).unwrap();
    let (ca, key) = (folder.file("ca.pem"), folder.file("ca.key"));
    let missing = folder.file("missing.pem");
    let error = Identity::load(&missing, &key, &ca).unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    let junk = folder.file("junk.pem");
    fs::write(&junk, "not a certificate").unwrap();
    let error = Identity::load(&junk, &key, &ca).unwrap_err();
    assert!(error.to_string().contains("junk.pem"), "{error}");
}

#[test]
fn a_key_never_reaches_a_log() {
    let identity = authority().issue(Role::Client).unwrap();
    let text = format!("{identity:?}");
    assert!(text.contains("Client") && text.len() < 200, "{text}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let ca = authority();
    let one = node(&ca, 1, 1);
    let mut settings = config(ca.issue(Role::Node(NodeId(2))).unwrap(), 2, 1);
    settings.address = one.address;
    let error = Endpoint::bind(settings).unwrap_err();
    let port = format!("port {}", one.address.port());
    assert!(error.to_string().contains(&port), "{error}");
}

#[tokio::test]
async fn a_node_does_not_start_with_the_certificate_of_another() {
    let ca = authority();
    let settings = config(ca.issue(Role::Node(NodeId(2))).unwrap(), 3, 1);
    let error = Endpoint::bind(settings).unwrap_err();
    assert!(matches!(error, NetError::WrongIdentity { .. }), "{error}");
}
