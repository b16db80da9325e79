//! What is asked, in OpenAI's form.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST};

use crate::trace::Work;

/// Roughly one token, with its space.
const WORD: &str = "tide ";
/// Words of a prompt at most: what is recorded may be more than a client should carry.
const WORDS_AT_MOST: u32 = 8_192;
/// Where requests go within the address.
const PATH: &str = "/v1/completions";

/// A request of a trace.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) name: String,
    pub(super) work: Work,
}

/// Where requests go and how they name their service: `model` in the body always, the path and `Host` where wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    authority: String,
    path: String,
    host: Option<String>,
    is_streamed: bool,
}

/// An address that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is not `http://host:port/path`.
    #[error(
        "{0} is no address, expected one as http://127.0.0.1:8080 or http://127.0.0.1:8080/{{service}}/v1/completions"
    )]
    NoAddress(String),
    /// A name of a host that no header can carry.
    #[error("{0:?} cannot stand in a Host header")]
    NoHost(String),
}

impl Target {
    /// `address` is `http://host:port`, with a path or without; `{service}` in the path or in `host` stands for the service's name.
    ///
    /// # Errors
    ///
    /// When it is no such address.
    pub fn new(
        address: &str,
        host: Option<&str>,
        is_streamed: bool,
    ) -> Result<Target, TargetError> {
        let bad = || TargetError::NoAddress(address.to_owned());
        let rest = address.strip_prefix("http://").ok_or_else(bad)?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) if !path.is_empty() => (authority, format!("/{path}")),
            Some((authority, _)) => (authority, PATH.to_owned()),
            None => (rest, PATH.to_owned()),
        };
        let named = |text: &str| text.replace("{service}", "service");
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| bad())?;
        let authority =
            match (parsed.port_u16(), parsed.port().is_some() || authority.ends_with(':')) {
                (Some(_), _) => authority.to_owned(),
                (None, false) if parsed.as_str() == parsed.host() => format!("{authority}:80"),
                (None, _) => return Err(bad()),
            };
        if named(&path).parse::<hyper::Uri>().is_err() {
            return Err(bad());
        }
        if let Some(host) = host
            && named(host).parse::<hyper::http::uri::Authority>().is_err()
        {
            return Err(TargetError::NoHost(host.to_owned()));
        }
        Ok(Target { authority, path, host: host.map(str::to_owned), is_streamed })
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn request(&self, ask: &Ask, tokens_per_s: f64) -> Request<Full<Bytes>> {
        let (prompt, output) = match ask.work {
            Work::Tokens { prompt, output } => (prompt, output),
            Work::Duration(us) => (1, (us as f64 / 1e6 * tokens_per_s).round() as u32),
        };
        let body = serde_json::json!({
            "model": ask.name,
            "prompt": WORD.repeat(prompt.clamp(1, WORDS_AT_MOST) as usize),
            "max_tokens": output.max(1),
            "stream": self.is_streamed,
        });
        let host = self.host.as_ref().unwrap_or(&self.authority);
        Request::post(self.path.replace("{service}", &ask.name))
            .header(HOST, host.replace("{service}", &ask.name))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            // A service's name may hold what no address can; the server then answers what it answers to "/".
            .unwrap_or_else(|_| Request::new(Full::new(Bytes::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_completed_and_names_the_service_where_it_is_asked_to() {
        let ask = Ask { name: "chat".into(), work: Work::Tokens { prompt: 2, output: 7 } };
        for (address, host, path, header) in [
            ("http://127.0.0.1:8080", None, "/v1/completions", "127.0.0.1:8080"),
            ("http://gate/", Some("{service}.local"), "/v1/completions", "chat.local"),
            ("http://[::1]:80/{service}/v1", None, "/chat/v1", "[::1]:80"),
        ] {
            let target = Target::new(address, host, false).expect(address);
            let request = target.request(&ask, 100.0);
            assert_eq!(request.uri(), path);
            assert_eq!(request.headers()[HOST], header);
        }
        for bad in ["127.0.0.1:8080", "https://gate", "http://", "http://a b/", "http://gate:port"]
        {
            assert_eq!(Target::new(bad, None, false), Err(TargetError::NoAddress(bad.into())));
        }
    }
}
