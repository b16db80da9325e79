//! HTTP as a test speaks it: one request a connection, every byte of the answer.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::world::{PATIENCE, complete};

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came, with its framing.
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends a request and reads the answer to its end. A header that is given takes the place of the usual one.
///
/// # Errors
///
/// When the connection breaks or the answer is cut off.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        // Not everybody closes when asked to.
        let text = String::from_utf8_lossy(&bytes);
        if let Some(answer) = read(&text) {
            return Ok(answer);
        }
        match stream.read(&mut part)? {
            0 => {
                let told = format!("the answer is cut off: {text:?}");
                return Err(Error::new(ErrorKind::UnexpectedEof, told));
            }
            length => bytes.extend(&part[..length]),
        }
    }
}

/// An answer that is whole.
fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    let answer = Answer { status, headers, body: body.to_owned() };
    let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_whole = length.map_or(body.ends_with("0\r\n\r\n"), |length| body.len() >= length);
    is_whole.then_some(answer)
}

/// What came of load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub answered: usize,
    /// What was not answered with 200, in words.
    pub failed: Vec<String>,
    /// The models that answered, one for each answer.
    pub models: Vec<String>,
}

/// Clients that ask one after the other until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients that want so many tokens.
    pub fn start(gateway: SocketAddr, service: &str, clients: usize, tokens: u32) -> Load {
        Load::asking(gateway, service, clients, move |gateway, service| {
            complete(gateway, service, tokens)
        })
    }

    pub fn asking(
        gateway: SocketAddr,
        service: &str,
        clients: usize,
        ask: impl Fn(SocketAddr, &str) -> Result<Answer> + Clone + Send + 'static,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let client = |_| {
            let (stop, tally) = (stop.clone(), tally.clone());
            let (ask, service) = (ask.clone(), service.to_owned());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(gateway, &service);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    match answer {
                        Ok(answer) if answer.status == 200 => {
                            tally.answered += 1;
                            tally.models.push(model_of(&answer));
                        }
                        Ok(answer) => tally.failed.push(format!("{answer:?}")),
                        Err(error) => tally.failed.push(error.to_string()),
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { stop, tally, clients }
    }

    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets each client end what it asked last.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The model that an answer names.
fn model_of(answer: &Answer) -> String {
    let rest = answer.body.split("\"model\":\"").nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}
