//! Which service a request is for: by exact host, then by the longest path prefix, then, where that is wanted, by the `model` that an
//! OpenAI request names. And which revision of it, by weight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hyper::Request;
use hyper::header::{HOST, HeaderValue};

use super::door::Door;
use crate::gateway::Split;

/// One revision of a service.
#[derive(Clone)]
pub struct Revision {
    /// Where its requests come in.
    pub door: Arc<Door>,
    /// The target that fates name: its position wherever targets are kept.
    pub target: u32,
    /// Its share of the requests, in relation to the others'. With 0 it gets none.
    pub weight: u32,
}

/// What requests can be led to.
pub struct Service {
    revisions: Vec<Revision>,
    split: Mutex<Split>,
    /// A request for an event stream that waits is kept open with comments; its head, with status 200, is sent before a replica answers.
    pub sends_comments: bool,
}

impl Service {
    /// A service that shares its requests between revisions.
    pub fn new(revisions: Vec<Revision>, sends_comments: bool) -> Arc<Service> {
        let split = Split::new(revisions.iter().map(|revision| revision.weight).collect());
        Arc::new(Service { revisions, split: Mutex::new(split), sends_comments })
    }

    /// Whose turn it is; `None` when no revision has any weight.
    pub fn pick(&self) -> Option<&Revision> {
        if let [only] = self.revisions.as_slice() {
            return (only.weight > 0).then_some(only);
        }
        let at = self.split.lock().expect("nothing panics while it is held").pick()?;
        self.revisions.get(at)
    }
}

/// Where a route leads.
#[derive(Clone)]
pub enum Destination {
    /// To one service.
    Service(Arc<Service>),
    /// To the service of the model that the request names.
    Models(BTreeMap<String, Arc<Service>>),
}

/// Requests with that host and path prefix lead there.
#[derive(Clone)]
pub struct Route {
    /// The host, without port, in any case; `None`: whatever host has no route of its own.
    pub host: Option<String>,
    /// The beginning of the path, in whole segments: `/a` is the beginning of `/a` and `/a/b`, not of `/ab`. Empty or `/`: every path.
    pub prefix: String,
    /// The replica is asked for the path without the prefix.
    pub strips_prefix: bool,
    /// Where it leads.
    pub to: Destination,
}

/// All routes. They are exchanged as a whole while requests come in.
#[derive(Clone, Default)]
pub struct Routes {
    /// By host; for each, the longest prefix first.
    hosts: BTreeMap<String, Vec<Route>>,
    others: Vec<Route>,
}

impl Routes {
    /// These routes. Of two with the same host and prefix, the first is taken.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Routes {
        let mut all = Routes::default();
        for mut route in routes {
            route.prefix.truncate(route.prefix.trim_end_matches('/').len());
            let list = match &route.host {
                Some(host) => all.hosts.entry(plain(host)).or_default(),
                None => &mut all.others,
            };
            let at = list.partition_point(|other| other.prefix.len() >= route.prefix.len());
            list.insert(at, route);
        }
        all
    }

    /// The route of a request. A host that has routes has only those.
    pub(super) fn find(&self, host: Option<&str>, path: &str) -> Option<&Route> {
        let list = host.and_then(|host| self.hosts.get(host)).unwrap_or(&self.others);
        list.iter().find(|route| {
            let rest = path.strip_prefix(route.prefix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The host of a request: what names it, and in its plain form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) given: HeaderValue,
    pub(super) plain: String,
}

/// A request names no host where it must, several, or one that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadHost;

/// The one host that a request is for. The target of the request and a `Host` header must agree where both are there.
pub(super) fn host_of<B>(request: &Request<B>) -> Result<Option<Host>, BadHost> {
    let mut headers = request.headers().get_all(HOST).into_iter();
    let (header, further) = (headers.next(), headers.next());
    if further.is_some() {
        return Err(BadHost);
    }
    let authority = match request.uri().authority() {
        Some(authority) if authority.as_str().contains('@') => return Err(BadHost),
        Some(authority) => Some(HeaderValue::from_str(authority.as_str()).map_err(|_| BadHost)?),
        None => None,
    };
    let given = match (authority, header) {
        (Some(authority), Some(header)) => {
            if !authority.as_bytes().eq_ignore_ascii_case(header.as_bytes()) {
                return Err(BadHost);
            }
            authority
        }
        (Some(authority), None) => authority,
        (None, Some(header)) => header.clone(),
        (None, None) if request.version() < hyper::Version::HTTP_11 => return Ok(None),
        (None, None) => return Err(BadHost),
    };
    let text = given.to_str().map_err(|_| BadHost)?;
    let plain = without_port(text).map(plain).ok_or(BadHost)?;
    Ok(Some(Host { given, plain }))
}

/// The host of `host:port`, where both are what they should be.
fn without_port(text: &str) -> Option<&str> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            let is_address = rest[..end]
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
            (is_address.then_some(&text[..end + 2])?, &rest[end + 1..])
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let is_name =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            (text[..end].bytes().all(is_name).then_some(&text[..end])?, &text[end..])
        }
    };
    let is_port = match rest.strip_prefix(':') {
        Some(port) => port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()),
        None => rest.is_empty(),
    };
    (is_port && !host.is_empty()).then_some(host)
}

/// Hosts are the same whatever their case, and with or without a dot at their end.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use hyper::Version;

    use super::*;
    use crate::clock::Clock;
    use crate::gateway::Limits;

    fn service(target: u32) -> Destination {
        let limits = Limits { concurrency: 1, queue: 1, queue_bytes: None, timeout_us: None };
        let door = Door::new(limits, Arc::new(Clock::start()), Arc::default());
        Destination::Service(Service::new(vec![Revision { door, target, weight: 1 }], false))
    }

    fn target(routes: &Routes, host: Option<&str>, path: &str) -> Option<u32> {
        match &routes.find(host, path)?.to {
            Destination::Service(service) => Some(service.pick()?.target),
            Destination::Models(_) => None,
        }
    }

    #[test]
    fn the_exact_host_comes_first_and_then_the_longest_prefix_in_whole_segments() {
        let route = |host: Option<&str>, prefix: &str, number| Route {
            host: host.map(str::to_owned),
            prefix: prefix.to_owned(),
            strips_prefix: false,
            to: service(number),
        };
        let routes = Routes::new([
            route(Some("A.example"), "/", 1),
            route(Some("a.example"), "/v1/", 2),
            route(Some("a.example"), "/v1/chat", 3),
            route(Some("b.example"), "/only", 4),
            route(None, "/llama", 5),
        ]);
        let cases = [
            (Some("a.example"), "/", Some(1)),
            (Some("a.example"), "/v1", Some(2)),
            (Some("a.example"), "/v1/models", Some(2)),
            (Some("a.example"), "/v1/chat/completions", Some(3)),
            (Some("a.example"), "/v1/chatter", Some(2)),
            (Some("b.example"), "/only/this", Some(4)),
            (Some("b.example"), "/llama", None),
            (Some("c.example"), "/llama/x", Some(5)),
            (Some("c.example"), "/", None),
            (None, "/llama", Some(5)),
            (None, "*", None),
        ];
        for (host, path, expected) in cases {
            assert_eq!(target(&routes, host, path), expected, "{host:?} {path}");
        }
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        type Found = Result<Option<&'static str>, ()>;
        let cases: [(&str, &[&'static str], Version, Found); 20] = [
            ("/", &["a.example"], Version::HTTP_11, Ok(Some("a.example"))),
            ("/", &["A.Example.:8080"], Version::HTTP_11, Ok(Some("a.example"))),
            ("/", &["[::1]:80"], Version::HTTP_11, Ok(Some("[::1]"))),
            ("/", &["127.0.0.1"], Version::HTTP_11, Ok(Some("127.0.0.1"))),
            ("/", &["a.example", "a.example"], Version::HTTP_11, Err(())),
            ("/", &["a.example", "b.example"], Version::HTTP_11, Err(())),
            ("/", &[], Version::HTTP_11, Err(())),
            ("/", &[], Version::HTTP_2, Err(())),
            ("/", &[], Version::HTTP_10, Ok(None)),
            ("/", &[""], Version::HTTP_11, Err(())),
            ("/", &["a example"], Version::HTTP_11, Err(())),
            ("/", &["a,b"], Version::HTTP_11, Err(())),
            ("/", &["a/b"], Version::HTTP_11, Err(())),
            ("/", &["a:80:90"], Version::HTTP_11, Err(())),
            ("/", &["a:x"], Version::HTTP_11, Err(())),
            ("/", &["user@a"], Version::HTTP_11, Err(())),
            ("http://b.example/", &["b.example"], Version::HTTP_11, Ok(Some("b.example"))),
            ("http://b.example/", &["a.example"], Version::HTTP_11, Err(())),
            ("http://user@b.example/", &[], Version::HTTP_11, Err(())),
            ("http://b.example/", &[], Version::HTTP_2, Ok(Some("b.example"))),
        ];
        for (uri, hosts, version, expected) in cases {
            let mut request = Request::builder().uri(uri).version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let found = host_of(&request.body(()).expect("a request"));
            let found = found.as_ref().map(|host| host.as_ref().map(|host| host.plain.as_str()));
            assert_eq!(found.map_err(|_| ()), expected, "{uri} {hosts:?}");
        }
    }
}
