//! The questions as HTTP requests, each with a limit; answers told apart by `error_code`, never by
//! their text.

use std::{error::Error as _, fs, sync::Arc};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use schema_registry_converter::{
    async_impl::schema_registry::{self, SrSettings},
    error::SRCError,
    schema_registry_common::{RawError, SchemaType, SuppliedSchema},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::{COMPATIBILITY, Config, Error, MEDIA_TYPE};

pub(crate) const SUBJECT_UNKNOWN: u32 = 40401;
pub(crate) const SCHEMA_UNKNOWN: u32 = 40403;
const INCOMPATIBLE: u32 = 409;

/// Asks the registry; it remembers nothing.
pub(crate) struct Client {
    url: String,
    settings: SrSettings,
    http: reqwest::Client,
    username: String,
    password: Option<SecretString>,
}

#[derive(Deserialize)]
struct Verdict {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

impl Client {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let url = config.url.trim_end_matches('/').to_owned();
        reqwest::Url::parse(&url)
            .map_err(|error| Error::Config { key: "url", why: error.to_string() })?;
        let password = password(config)?;
        let tls = tls(config)?;
        let mut settings = SrSettings::new_builder(url.clone());
        settings.set_timeout(config.timeout()).no_proxy();
        if !config.username.is_empty() {
            let password = password.as_ref().map(|password| password.expose_secret());
            settings.set_basic_authorization(&config.username, password);
        }
        let settings = settings
            .build_with(builder(config, tls.clone()))
            .map_err(|error| Error::Config { key: "url", why: error.to_string() })?;
        let http = builder(config, tls)
            .timeout(config.timeout())
            .build()
            .map_err(|error| Error::Config { key: "url", why: error.to_string() })?;
        Ok(Self { url, settings, http, username: config.username.clone(), password })
    }

    /// Returns the text of a schema, `None` where the registry says that there is none of this id.
    pub(crate) async fn schema(&self, id: u32) -> Result<Option<String>, Error> {
        match schema_registry::get_schema_by_id(id, &self.settings).await {
            Ok(schema) => Ok(Some(schema.schema)),
            Err(error) => match self.told(format!("fetch schema {id}"), &error) {
                Error::Refused { code: SCHEMA_UNKNOWN, .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Registers a schema under a subject and returns its id; the same schema gives the same id.
    pub(crate) async fn register(&self, subject: &str, kind: wire::Kind) -> Result<u32, Error> {
        let schema = SuppliedSchema::new(None, SchemaType::Avro, text(kind));
        let posted = schema_registry::post_schema(&self.settings, subject.to_owned(), schema).await;
        posted.map(|schema| schema.id).map_err(|error| {
            match self.told(format!("register subject {subject:?}"), &error) {
                Error::Refused { code: INCOMPATIBLE, why, .. } => {
                    Error::Incompatible { subject: subject.to_owned(), record: kind.name(), why }
                }
                error => error,
            }
        })
    }

    /// Has the registry refuse what not every version of a subject could read.
    pub(crate) async fn protect(&self, subject: &str) -> Result<(), Error> {
        let doing = format!("set the compatibility of subject {subject:?}");
        let request = self.http.put(format!("{}/config/{subject}", self.url));
        self.ask(doing, request, &json!({ "compatibility": COMPATIBILITY })).await.map(drop)
    }

    /// Asks whether a schema may be registered under a subject; nothing is changed.
    pub(crate) async fn check(&self, subject: &str, kind: wire::Kind) -> Result<(), Error> {
        let doing = format!("check subject {subject:?}");
        let url = format!("{}/compatibility/subjects/{subject}/versions?verbose=true", self.url);
        let body = json!({ "schemaType": "AVRO", "schema": text(kind) });
        let verdict = match self.ask(doing.clone(), self.http.post(url), &body).await {
            // A subject without a version takes any schema.
            Err(Error::Refused { code: SUBJECT_UNKNOWN, .. }) => return Ok(()),
            answer => answer?,
        };
        let verdict: Verdict = serde_json::from_value(verdict)
            .map_err(|error| self.unavailable(doing, error.to_string()))?;
        if verdict.is_compatible {
            return Ok(());
        }
        let why = match verdict.messages.is_empty() {
            true => "the registry says no more".to_owned(),
            false => verdict.messages.join("; "),
        };
        Err(Error::Incompatible { subject: subject.to_owned(), record: kind.name(), why })
    }

    async fn ask(
        &self,
        doing: String,
        request: reqwest::RequestBuilder,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, Error> {
        let mut request = request.header(ACCEPT, MEDIA_TYPE).json(body);
        request = request.header(CONTENT_TYPE, MEDIA_TYPE);
        if !self.username.is_empty() {
            let password = self.password.as_ref().map(|password| password.expose_secret());
            request = request.basic_auth(&self.username, password);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.unavailable(doing, chain(&error))),
        };
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(|error| self.unavailable(doing, chain(&error)));
        }
        let raw = answer.json::<RawError>().await.ok();
        let code = raw.as_ref().map_or(u32::from(status.as_u16()), |raw| raw.error_code);
        let why = raw.map_or_else(|| format!("status {status}"), |raw| raw.message);
        Err(self.judged(doing, code, why, status.is_server_error()))
    }

    /// Reads the registry's own code out of the converter's error.
    fn told(&self, doing: String, error: &SRCError) -> Error {
        match error.source().and_then(|source| source.downcast_ref::<RawError>()) {
            Some(raw) => {
                let server = error.retriable || matches!(raw.error_code, 0 | 500 | 50000..);
                self.judged(doing, raw.error_code, raw.message.clone(), server)
            }
            None => {
                let why = error.source().map_or_else(|| error.error.clone(), chain);
                self.unavailable(doing, why)
            }
        }
    }

    fn judged(&self, doing: String, code: u32, why: String, server: bool) -> Error {
        if server || code == 429 {
            return self.unavailable(doing, format!("it answered {code}: {why}"));
        }
        Error::Refused { doing, code, why }
    }

    fn unavailable(&self, doing: String, why: String) -> Error {
        Error::Unavailable { doing, why, url: self.url.clone() }
    }
}

/// Returns a schema without the white space of its file, by which some registries tell versions.
fn text(kind: wire::Kind) -> String {
    let schema = serde_json::from_str::<serde_json::Value>(kind.schema());
    schema.map_or_else(|_| kind.schema().to_owned(), |schema| schema.to_string())
}

fn builder(config: &Config, tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(config.timeout())
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(2)
        .no_proxy()
}

fn password(config: &Config) -> Result<Option<SecretString>, Error> {
    if config.password_file.is_empty() {
        return Ok(None);
    }
    let text = fs::read_to_string(&config.password_file).map_err(|error| Error::Config {
        key: "password_file",
        why: format!("{}: {error}", config.password_file),
    })?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned().into()))
}

fn tls(config: &Config) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !config.ca_file.is_empty() {
        let why = |error: String| Error::Config { key: "ca_file", why: error };
        let found = CertificateDer::pem_file_iter(&config.ca_file);
        for certificate in found.map_err(|error| why(error.to_string()))? {
            let certificate = certificate.map_err(|error| why(error.to_string()))?;
            roots.add(certificate).map_err(|error| why(error.to_string()))?;
        }
    }
    // The provider is named here: a process-wide default would be a global.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config { key: "url", why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Tells an error with its causes: the outermost of an HTTP client's says nothing.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
