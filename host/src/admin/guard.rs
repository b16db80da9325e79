//! Who may ask. Pure.
//!
//! A page of another site can make a browser send requests here, and a name that its owner points at this machine can make the browser
//! take the answers for the site's own (DNS rebinding). So `Host` has to be an address or a name that is known to be ours, `Origin`
//! has to be what `Host` says, and what changes something has to come as JSON, which no other site may send unasked.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use axum::http::{StatusCode, uri::Authority};
use subtle::ConstantTimeEq as _;

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Guard {
    bound: IpAddr,
    names: Vec<String>,
    token: Option<String>,
}

/// A port that must not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the admin port would listen at {bound}, which others reach, without a token of at least {TOKEN_AT_LEAST} characters"
)]
pub struct Unguarded {
    bound: IpAddr,
}

/// The shortest token. Characters.
pub const TOKEN_AT_LEAST: usize = 16;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// `Host` is missing or is not ours.
    Host,
    /// Another site's page asks.
    Origin,
    /// The token is missing or wrong.
    Token,
    /// An order that is not JSON.
    ContentType,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Denied::Host | Denied::Origin => StatusCode::FORBIDDEN,
            Denied::Token => StatusCode::UNAUTHORIZED,
            Denied::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Denied::Host => "the host name is not this machine's (--admin-host names others)",
            Denied::Origin => "pages of other sites may not ask",
            Denied::Token => "the token is missing or wrong: Authorization: Bearer TOKEN",
            Denied::ContentType => "orders are JSON: Content-Type: application/json",
        }
    }
}

impl Guard {
    /// A guard of a port that listens at `bound`. `names` are further names by which it is reached; `token` is what everybody must
    /// bring, if given.
    ///
    /// # Errors
    ///
    /// When others than this machine reach it and there is no token, or a short one.
    pub fn new(
        bound: IpAddr,
        names: Vec<String>,
        token: Option<String>,
    ) -> Result<Guard, Unguarded> {
        let is_strong = token.as_ref().is_some_and(|token| token.len() >= TOKEN_AT_LEAST);
        if !bound.to_canonical().is_loopback() && !is_strong {
            return Err(Unguarded { bound });
        }
        Ok(Guard { bound, names, token })
    }

    /// Lets somebody in, who wants to change something or not.
    ///
    /// # Errors
    ///
    /// When nobody may ask like that.
    pub fn admit(&self, changes: bool, headers: &HeaderMap) -> Result<(), Denied> {
        let host = only(headers, HOST.as_str())
            .and_then(|host| host.parse::<Authority>().ok())
            .filter(|host| self.is_ours(host.host()))
            .ok_or(Denied::Host)?;
        if headers.contains_key(ORIGIN) {
            let origin = only(headers, ORIGIN.as_str()).ok_or(Denied::Origin)?;
            let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if !site.is_some_and(|site| site.eq_ignore_ascii_case(host.as_str())) {
                return Err(Denied::Origin);
            }
        }
        // What browsers say of themselves, where there is no Origin.
        if only(headers, "sec-fetch-site")
            .is_some_and(|site| site != "same-origin" && site != "none")
        {
            return Err(Denied::Origin);
        }
        if let Some(token) = &self.token {
            let brought = only(headers, AUTHORIZATION.as_str())
                .and_then(|value| value.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map_or("", |(_, token)| token.trim());
            if !bool::from(token.as_bytes().ct_eq(brought.as_bytes())) {
                return Err(Denied::Token);
            }
        }
        if changes {
            let kind = only(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("application/json") {
                return Err(Denied::ContentType);
            }
        }
        Ok(())
    }

    /// Whether a name is this machine's. An address cannot be pointed elsewhere, so any is ours where all are listened at.
    fn is_ours(&self, host: &str) -> bool {
        if self.names.iter().any(|name| name.eq_ignore_ascii_case(host)) {
            return true;
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback()
                    || address == self.bound.to_canonical()
                    || self.bound.is_unspecified()
            }
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(guard: &Guard, changes: bool, headers: &[(&'static str, &str)]) -> Result<(), Denied> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a test's headers are in order"));
        }
        guard.admit(changes, &map)
    }

    #[test]
    fn only_those_who_name_this_machine_are_let_in() {
        let loopback = [127, 0, 0, 1].into();
        let guard = Guard::new(loopback, vec!["box.local".into()], None).expect("it is loopback");
        for (host, expected) in [
            ("localhost:9090", Ok(())),
            ("LOCALHOST", Ok(())),
            ("127.0.0.1:9090", Ok(())),
            ("127.8.8.8", Ok(())),
            ("[::1]:9090", Ok(())),
            ("box.local:9090", Ok(())),
            ("10.0.0.7:9090", Err(Denied::Host)),
            ("rebound.example:9090", Err(Denied::Host)),
            ("localhost.example", Err(Denied::Host)),
            ("127.0.0.1.example", Err(Denied::Host)),
            ("", Err(Denied::Host)),
            ("a b", Err(Denied::Host)),
        ] {
            assert_eq!(ask(&guard, false, &[("host", host)]), expected, "{host}");
        }
        assert_eq!(ask(&guard, false, &[]), Err(Denied::Host));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(ask(&guard, false, &twice), Err(Denied::Host));
        let everywhere = Guard::new([0, 0, 0, 0].into(), vec![], Some("0123456789abcdef".into()));
        let everywhere = everywhere.expect("it has a token");
        assert_eq!(ask(&everywhere, false, &[("host", "10.0.0.7:9090")]), Err(Denied::Token));
        assert_eq!(ask(&everywhere, false, &[("host", "rebound.example")]), Err(Denied::Host));
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_orders_are_json() {
        let guard = Guard::new([127, 0, 0, 1].into(), vec![], None).expect("it is loopback");
        let json = ("content-type", "application/json; charset=utf-8");
        for (origin, expected) in [
            ("http://localhost:9090", Ok(())),
            ("http://localhost:9091", Err(Denied::Origin)),
            ("http://evil.example", Err(Denied::Origin)),
            ("null", Err(Denied::Origin)),
        ] {
            let headers = [("host", "localhost:9090"), ("origin", origin), json];
            assert_eq!(ask(&guard, true, &headers), expected, "{origin}");
            assert_eq!(ask(&guard, false, &headers), expected, "{origin}");
        }
        for (site, expected) in
            [("same-origin", Ok(())), ("none", Ok(())), ("cross-site", Err(Denied::Origin))]
        {
            let headers = [("host", "localhost"), ("sec-fetch-site", site)];
            assert_eq!(ask(&guard, false, &headers), expected, "{site}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let headers = [("host", "localhost"), ("content-type", kind)];
            assert_eq!(ask(&guard, true, &headers), Err(Denied::ContentType), "{kind}");
        }
    }

    #[test]
    fn off_loopback_there_is_a_token_or_no_port() {
        for (address, token, expected) in [
            ("127.0.0.1", None, true),
            ("::1", None, true),
            ("0.0.0.0", None, false),
            ("10.0.0.7", Some("short"), false),
            ("10.0.0.7", Some("0123456789abcdef"), true),
        ] {
            let bound = address.parse().expect("an address");
            let guard = Guard::new(bound, vec![], token.map(str::to_owned));
            assert_eq!(guard.is_ok(), expected, "{address}");
        }
        let token = Some("0123456789abcdef".to_owned());
        let guard = Guard::new([10, 0, 0, 7].into(), vec![], token).expect("it has a token");
        for (brought, expected) in [
            ("Bearer 0123456789abcdef", Ok(())),
            ("bearer 0123456789abcdef", Ok(())),
            ("Bearer 0123456789abcdeg", Err(Denied::Token)),
            ("Bearer 0123456789abcdef0", Err(Denied::Token)),
            ("Bearer", Err(Denied::Token)),
            ("Basic 0123456789abcdef", Err(Denied::Token)),
        ] {
            let headers = [("host", "10.0.0.7"), ("authorization", brought)];
            assert_eq!(ask(&guard, false, &headers), expected, "{brought}");
        }
        assert_eq!(ask(&guard, false, &[("host", "10.0.0.7")]), Err(Denied::Token));
    }
}
