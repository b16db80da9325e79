//! Asks a replica whether it is well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::definitions::launch::{Probe, Way};

/// Where servers of this machine may listen. Some take `localhost` for the newer one only.
const HERE: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Asks once. Where it answered, or why not.
pub(super) async fn ask(probe: &Probe, port: u16) -> Result<IpAddr, String> {
    let patience = Duration::from_millis(probe.timeout_ms.max(1));
    let port = probe.port.unwrap_or(port);
    let asked = timeout(patience, once(probe, port)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {}", seconds(probe.timeout_ms))))
}

async fn once(probe: &Probe, port: u16) -> Result<IpAddr, String> {
    let (stream, from) = connect(port).await?;
    match &probe.way {
        Way::Tcp => Ok(from),
        Way::Http { path, headers } => {
            let status = status_of(stream, port, path, headers).await?;
            if (200..400).contains(&status) {
                Ok(from)
            } else {
                Err(format!("{path} answers with status {status}"))
            }
        }
    }
}

async fn connect(port: u16) -> Result<(TcpStream, IpAddr), String> {
    let mut refused = String::new();
    for host in HERE {
        match TcpStream::connect(SocketAddr::new(host, port)).await {
            Ok(stream) => return Ok((stream, host)),
            Err(error) if refused.is_empty() => {
                refused = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => {
                        format!("nothing listens on port {port}")
                    }
                    _ => format!("port {port}: {error}"),
                };
            }
            Err(_) => {}
        }
    }
    Err(refused)
}

async fn status_of(
    mut stream: TcpStream,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, String> {
    let mut request = format!("GET {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request.push_str(&format!("host: localhost:{port}\r\n"));
    }
    request.push_str("user-agent: tidegate-probe\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str("\r\n");
    let broken = |error: std::io::Error| format!("port {port} broke off: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    // The first line is enough: "HTTP/1.1 200".
    let mut head = [0; 12];
    let mut length = 0;
    while length < head.len() {
        match stream.read(&mut head[length..]).await.map_err(broken)? {
            0 => break,
            read => length += read,
        }
    }
    let text = std::str::from_utf8(&head[..length]).unwrap_or("");
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)?.parse().ok());
    let status = status.filter(|status| (100..600).contains(status));
    status.ok_or_else(|| format!("port {port} speaks no HTTP"))
}

/// A span for people.
pub(super) fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn http(path: &str) -> Probe {
        let way = Way::Http { path: path.to_owned(), headers: vec![("x-a".into(), "b".into())] };
        Probe { way, ..Probe::default() }
    }

    /// What a probe comes to where whoever listens answers with `answer` in two parts; it checks what was asked.
    async fn answered(probe: &Probe, answer: &'static str) -> Result<IpAddr, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("somebody comes");
            let mut asked = vec![0; 1_024];
            let length = stream.read(&mut asked).await.unwrap_or(0);
            let (one, other) = answer.split_at(answer.len() / 2);
            let _ = stream.write_all(one.as_bytes()).await;
            let _ = stream.flush().await;
            tokio::task::yield_now().await;
            let _ = stream.write_all(other.as_bytes()).await;
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let told = ask(probe, port).await;
        let asked = server.await.expect("it serves");
        if matches!(probe.way, Way::Http { .. }) {
            assert!(
                asked.starts_with("GET /health HTTP/1.1\r\n") && asked.contains("\r\nx-a: b\r\n"),
                "{asked}"
            );
        }
        told
    }

    #[tokio::test]
    async fn a_probe_takes_what_kubernetes_takes() {
        let well = Ok(HERE[0]);
        assert_eq!(answered(&Probe::default(), "").await, well);
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", well.clone()),
            ("HTTP/1.0 204 No Content\r\n\r\n", well.clone()),
            ("HTTP/1.1 302 Found\r\n\r\n", well.clone()),
            ("HTTP/1.1 503 Loading\r\n\r\n", Err("/health answers with status 503".to_owned())),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err("/health answers with status 404".to_owned())),
        ] {
            assert_eq!(answered(&http("/health"), answer).await, expected, "{answer}");
        }
        for answer in [
            "",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 20",
            "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        ] {
            let told = answered(&http("/health"), answer).await.expect_err("it is no HTTP");
            assert!(told.ends_with("speaks no HTTP") || told.contains("broke off"), "{told}");
        }
    }

    #[tokio::test]
    async fn who_does_not_listen_or_answer_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        let hasty = Probe { timeout_ms: 30, ..http("/health") };
        assert_eq!(ask(&hasty, port).await, Err("no answer within 30 ms".to_owned()));
        drop(listener);
        assert_eq!(
            ask(&http("/health"), port).await,
            Err(format!("nothing listens on port {port}"))
        );
    }
}
