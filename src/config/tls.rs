//! Encrypted connections to brokers and databases: the files that [`TlsSettings`] names, read, and what a failed handshake means.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::{Node, Reader, TlsSettings};
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
                let config = builder.with_client_auth_cert(chain, private_key(folder, key)?);
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

/// Reports what keeps `tls`, read from `node`, from being used: a certificate without its key, files that are not there or
/// not PEM, a key that is not the certificate's.
pub fn check(node: Option<&Node>, tls: Option<&TlsSettings>, reader: &mut Reader<'_>) {
    let (Some(node), Some(tls)) = (node, tls) else { return };
    let (there, missing) = match (&tls.certificate, &tls.key) {
        (Some(_), None) => ("certificate", "key"),
        (None, Some(_)) => ("key", "certificate"),
        _ => ("", ""),
    };
    if !missing.is_empty() {
        reader
            .error(node.span.part(0, 1), format!("`tls.{missing}` is missing"))
            .help(format!("a certificate is shown with its key: write both, or leave `{there}` out"));
    }
    for (name, fault) in faults(tls, &reader.environment.folder) {
        let span = node.field(name).map_or(node.span, |node| node.span);
        reader.error(span, fault.sentence()).label("a PEM file, its path beginning at the hub's folder");
    }
}

/// What is wrong with the files that `settings` names, each with the key it stands under.
fn faults(settings: &TlsSettings, folder: &Path) -> Vec<(&'static str, Fault)> {
    let mut faults = Vec::new();
    if settings.ca.is_some() {
        faults.extend(roots(settings, folder).err().map(|fault| ("ca", fault)));
    }
    if let Some(certificate) = &settings.certificate {
        faults.extend(certificates(folder, certificate).err().map(|fault| ("certificate", fault)));
    }
    if let Some(key) = &settings.key {
        faults.extend(private_key(folder, key).err().map(|fault| ("key", fault)));
    }
    // What none of them says by itself: whether they go together.
    if faults.is_empty() && settings.certificate.is_some() && settings.key.is_some() {
        faults.extend(Tls::read(settings, folder).err().map(|fault| ("certificate", fault)));
    }
    faults
}

/// What TLS said, wherever it stands among the causes of `error`.
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // The source of an `io::Error` is that of the error inside, which is left out.
        let inside = error.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
        next = inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

/// Why there is no encrypted connection to `server` (such as `the broker`), and what to change below `key` (such as `tls`).
pub fn explain(error: &rustls::Error, server: &str, key: &str) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!(
                "{server}'s certificate is for another name: give the name it has as `{key}.server_name`, or correct the address"
            )
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("{server}'s certificate has expired: renew it there")
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("{server}'s certificate is not valid yet: correct this machine's clock, or the certificate")
        }
        InvalidCertificate(_) => {
            format!("{server}'s certificate is not trusted: give the authority that signed it as `{key}.ca`")
        }
        AlertReceived(_) => format!(
            "{server} refused the encrypted connection: give a client certificate that it trusts as `{key}.certificate` and \
             `{key}.key`"
        ),
        InvalidMessage(_) => format!("{server}'s port does not speak TLS: correct the port, or leave `{key}` out"),
        _ => format!("no encrypted connection to {server}: correct `{key}`, or what the server offers"),
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

fn private_key(folder: &Path, path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let key = PrivateKeyDer::from_pem_slice(&bytes(folder, path)?);
    key.map_err(|_| fault(path, "holds no private key in PEM (`-----BEGIN ...`)"))
}

fn bytes(folder: &Path, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(folder.join(path)).map_err(|error| fault(path, "cannot be read").cause(error))
}

fn fault(path: &Path, what: &str) -> Fault {
    Fault::misconfigured("CONFIG-TLS", format!("the file {} {what}", path.display()))
}
