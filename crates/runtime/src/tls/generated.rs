//! The certificate that this process generates for listeners that are given none.
//!
//! It owns the one copy of it: every listener, also after a reload, shows the same certificate, so
//! that a client which pins it is not surprised before the process restarts. It never writes it to a
//! disk. Its input is the host name and the date.

use std::sync::OnceLock;
use std::time::SystemTime;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{Identity, TlsError};

/// How long the certificate is valid: as long as those that MySQL generates.
const VALID_YEARS: i32 = 10;

/// Not configuration: a fact about the process, like its id.
static GENERATED: OnceLock<Result<Generated, String>> = OnceLock::new();

struct Generated {
    certificate: CertificateDer<'static>,
    key_pkcs8: Zeroizing<Vec<u8>>,
}

/// The certificate and key of this process, generated at the first call.
pub(super) fn identity() -> Result<Identity, TlsError> {
    let generated = GENERATED.get_or_init(|| generate().map_err(|error| error.to_string()));
    match generated {
        Ok(Generated {
            certificate,
            key_pkcs8,
        }) => {
            let key = PrivatePkcs8KeyDer::from(key_pkcs8.to_vec());
            Ok((vec![certificate.clone()], PrivateKeyDer::Pkcs8(key)))
        }
        Err(reason) => Err(TlsError::Generate(reason.clone())),
    }
}

fn generate() -> Result<Generated, rcgen::Error> {
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names = loopback.to_vec();
    names.extend(host_name());
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "dbmesh generated certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let year = year();
    // From the year before: the clocks of clients may be behind.
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + VALID_YEARS, 1, 1);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    Ok(Generated {
        certificate: certificate.der().clone(),
        key_pkcs8: Zeroizing::new(key.serialize_der()),
    })
}

/// The name of this host, if it is fit for a certificate.
fn host_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let usable = (1..=253).contains(&name.len()) && name.chars().all(fits) && name != "localhost";
    usable.then(|| name.to_owned())
}

/// The year, from the mean length of a year: right to a day or so.
fn year() -> i32 {
    const YEAR_SECONDS: u64 = 31_556_952;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let years = now.map_or(0, |since| since.as_secs() / YEAR_SECONDS);
    1970 + i32::try_from(years.min(8_000)).unwrap_or(0)
}
