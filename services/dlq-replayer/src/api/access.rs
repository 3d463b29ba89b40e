//! Who may ask: whoever has the token, or, where there is none, a program on this machine.

use std::{fs, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Problem;
use crate::{Config, Error};

/// A shorter token is guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// What a request must show.
pub(crate) struct Access {
    /// The token's digest: comparing digests tells nothing of the token, not even its length.
    token: Option<[u8; 32]>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("has_token", &self.token.is_some()).finish()
    }
}

impl Access {
    /// Reads the token.
    ///
    /// # Errors
    /// [`Error::Start`] where it can't be read, is too short, or is needed and not named.
    pub(crate) fn read(config: &Config) -> Result<Self, Error> {
        if let Some((key, why)) = config.findings().into_iter().next() {
            return Err(Error::Start(format!("dlq_replayer.{key}: {why}")));
        }
        if config.token_file.is_empty() {
            return Ok(Self { token: None });
        }
        let named = format!("dlq_replayer.token_file: {}", config.token_file);
        let text = fs::read_to_string(&config.token_file)
            .map_err(|why| Error::Start(format!("{named}: {why}; it holds the API's token")))?;
        let token = text.trim();
        if token.len() < TOKEN_BYTES_MIN {
            let why = format!("{named}: the token is shorter than {TOKEN_BYTES_MIN} characters");
            return Err(Error::Start(format!("{why}; make one with `openssl rand -hex 32`")));
        }
        Ok(Self { token: Some(digest(token)) })
    }

    fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        match &self.token {
            Some(token) => match bearer(headers) {
                Some(given) if bool::from(digest(given).ct_eq(token)) => Ok(()),
                Some(_) | None => Err(Problem::no_token()),
            },
            None if names_this_machine(headers, uri) => Ok(()),
            None => Err(Problem::foreign_host()),
        }
    }
}

/// Lets a request pass that may ask.
pub(super) async fn allowed(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.check(request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Says whether the request was addressed to this machine by its own name: a web page can make a
/// browser ask a name of its choice that leads here, but not this one.
fn names_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = uri.authority().map(|a| a.as_str()).or(host) else { return false };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    fn config(token_file: &str) -> Config {
        let text =
            crate::DEFAULTS.replace("token_file = \"\"", &format!("token_file = {token_file:?}"));
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn only_the_token_opens_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "0123456789abcdef\n").unwrap();
        let access = Access::read(&config(file.to_str().unwrap())).unwrap();
        let check = |value: &str| {
            access.check(&headers(header::AUTHORIZATION, value), &Uri::from_static("/")).is_ok()
        };
        assert!(check("Bearer 0123456789abcdef") && check("bearer 0123456789abcdef"));
        for bad in ["", "Bearer", "Bearer 0123456789abcdeX", "Basic 0123456789abcdef", "Bearer "] {
            assert!(!check(bad), "{bad:?}");
        }
        assert!(access.check(&HeaderMap::new(), &Uri::from_static("/")).is_err());
        assert!(!format!("{access:?}").contains("0123"));
    }

    #[test]
    fn a_token_that_is_missing_or_short_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let path = file.to_str().unwrap().to_owned();
        assert!(Access::read(&config(&path)).unwrap_err().to_string().contains(&path));
        fs::write(&file, "short").unwrap();
        assert!(Access::read(&config(&path)).unwrap_err().to_string().contains("shorter"));
        let mut open = config("");
        open.listen = "0.0.0.0:0".parse().unwrap();
        assert!(Access::read(&open).unwrap_err().to_string().contains("token_file"));
    }

    #[test]
    fn without_a_token_only_this_machines_own_names_are_answered() {
        let access = Access::read(&config("")).unwrap();
        let check = |host: &str| {
            access.check(&headers(header::HOST, host), &Uri::from_static("/v1/replays")).is_ok()
        };
        assert!(
            ["localhost", "LOCALHOST:1", "127.0.0.1:8081", "[::1]:8081", "[::1]"]
                .into_iter()
                .all(check)
        );
        for bad in ["evil.example", "evil.example:8081", "10.0.0.1", "127.0.0.1.evil.example"] {
            assert!(!check(bad), "{bad}");
        }
    }
}
