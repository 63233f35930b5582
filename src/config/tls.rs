//! Encrypted connections to brokers and databases: the files that [`TlsSettings`] names, read.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::TlsSettings;
use crate::message::Fault;

/// What a TLS connection needs.
#[derive(Clone, Debug)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// Whom the certificate is to name, where it is not the host in the address.
    pub server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Reads the files that `settings` names, relative to `folder`.
    ///
    /// # Errors
    /// `CONFIG-TLS` (misconfigured): a file that is not there or not PEM, a key that is not the certificate's.
    pub fn read(settings: &TlsSettings, folder: &Path) -> Result<Tls, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("ring has the versions").with_root_certificates(roots(settings, folder)?);
        let config = match (&settings.certificate, &settings.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = certificates(folder, certificate)?;
                let private = PrivateKeyDer::from_pem_slice(&bytes(folder, key)?);
                let private = private.map_err(|_| fault(key, "holds no private key in PEM (`-----BEGIN ...`)"))?;
                let config = builder.with_client_auth_cert(chain, private);
                config.map_err(|error| fault(certificate, "does not go with its key").cause(error))?
            }
            (Some(_), None) | (None, Some(_)) => {
                return Err(Fault::misconfigured("CONFIG-TLS", "`tls` wants both `certificate` and `key`, or neither"));
            }
        };
        let server_name = settings.server_name.as_ref().map(|name| {
            let wrong = format!("`tls.server_name` is not a host name: {name}");
            ServerName::try_from(name.to_string()).map_err(|_| Fault::misconfigured("CONFIG-TLS", wrong))
        });
        Ok(Tls { config: Arc::new(config), server_name: server_name.transpose()? })
    }
}

/// Who may have signed the server's certificate.
fn roots(settings: &TlsSettings, folder: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    match &settings.ca {
        Some(ca) => {
            for certificate in certificates(folder, ca)? {
                roots.add(certificate).map_err(|error| fault(ca, "holds a certificate that is none").cause(error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(folder: &Path, path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let pem = bytes(folder, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
    certificates.ok_or_else(|| fault(path, "holds no certificates in PEM (`-----BEGIN ...`)"))
}

fn bytes(folder: &Path, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(folder.join(path)).map_err(|error| fault(path, "cannot be read").cause(error))
}

fn fault(path: &Path, what: &str) -> Fault {
    Fault::misconfigured("CONFIG-TLS", format!("the file {} {what}", path.display()))
}
