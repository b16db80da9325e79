//! The page, in a browser.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::client::ask;
use crate::world::{PATIENCE, Place, Up, fake, services, wait};

const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

pub fn the_page_shows_what_is_live_and_text_stays_text() {
    let bad = "- name: broken
  command: [sh, -c, 'echo \"<script>document.title=1</script>\" >&2; exit 3']
  minReplicas: 1
";
    let place = Place::new(&services(&[fake("chat", "200ms", "minReplicas: 2"), bad.to_owned()]));
    let up = Up::start(&place);
    let profile = place.path("browser").display().to_string();
    let Some(mut browser) = Browser::start(&profile) else {
        eprintln!("skipped: none of {} is there", PROGRAMS.join(", "));
        return;
    };
    up.until_ready("chat", 2);
    up.until_log("<script>");
    let mut tab = browser.open(&format!("http://{}/", up.admin));
    let row = "[...document.querySelectorAll('#services tbody tr')].map((row) => row.innerText.replace(/\\s+/g, ' ')).join('|')";
    let shown = wait(|| {
        let text = tab.eval(row);
        let text = text.as_str().unwrap_or("").to_owned();
        (text.contains("chat") && text.contains("broken")).then_some(text)
    });
    let shown = shown.unwrap_or_else(|| panic!("no rows: {}", tab.eval("document.body.innerText")));
    let chat = shown.split('|').find(|row| row.contains("chat")).expect("its row");
    assert!(chat.split_whitespace().any(|word| word == "2"), "two are ready: {shown}");
    let link = tab.eval("document.getElementById('link').innerText");
    assert!(!link.as_str().unwrap_or("").contains("connects"), "{link}");
    // What a child printed is text, wherever it is shown.
    let text = wait(|| {
        tab.eval("[...document.querySelectorAll('#services tbody tr')].find((row) => row.innerText.includes('broken')).click()");
        let text = tab.eval("document.body.innerText").as_str().unwrap_or("").to_owned();
        text.contains("<script>").then_some(text)
    });
    assert!(text.is_some(), "{}", tab.eval("document.body.innerText"));
    assert_eq!(tab.eval("document.title"), "Tidegate");
    assert_eq!(tab.eval("document.querySelectorAll('script').length"), 1);
    up.end_well();
}

/// A browser without a window. Dropped, it is killed.
struct Browser {
    child: Child,
    debugging: SocketAddr,
}

impl Browser {
    /// Starts what there is; `None`: nothing is there.
    fn start(profile: &str) -> Option<Browser> {
        let start = |program: &&str| {
            let mut command = Command::new(program);
            command.args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ]);
            command.args([
                "--no-first-run",
                "--disable-background-networking",
                "--remote-debugging-port=0",
            ]);
            command.arg(format!("--user-data-dir={profile}")).arg("about:blank");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()
        };
        let mut child = PROGRAMS.iter().find_map(start)?;
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split_once("DevTools listening on ws://")?.1;
            rest.split('/').next()?.parse().ok()
        });
        let Some(debugging) = address else {
            let _ = child.kill();
            panic!("{} does not tell where it listens", PROGRAMS[0]);
        };
        // It goes on talking: somebody must listen.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Browser { child, debugging })
    }

    fn open(&mut self, url: &str) -> Tab {
        let list = ask(self.debugging, "GET", "/json/list", "", &[]).expect("it lists its tabs");
        let list: Value = serde_json::from_str(&list.body).expect("a document");
        let tabs = list.as_array().expect("a list");
        let tab = tabs.iter().find(|tab| tab["type"] == "page").expect("one is open");
        let socket = tab["webSocketDebuggerUrl"].as_str().expect("it can be reached");
        let path = socket.splitn(4, '/').nth(3).expect("a path").to_owned();
        let mut tab = Tab::connect(self.debugging, &format!("/{path}"));
        tab.call("Page.navigate", &json!({"url": url}));
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A tab, over the DevTools protocol: JSON in frames of a websocket.
struct Tab {
    stream: TcpStream,
    number: u64,
}

impl Tab {
    fn connect(address: SocketAddr, path: &str) -> Tab {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it is sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("it answers");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Tab { stream, number: 0 }
    }

    /// What an expression comes to.
    fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", &asked)["result"]["value"].clone()
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let text = json!({"id": self.number, "method": method, "params": params}).to_string();
        let length = u16::try_from(text.len()).expect("calls are short");
        // Text, whole, masked with zeros: which leaves it as it is.
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).expect("it is sent");
        loop {
            let told: Value = serde_json::from_slice(&self.frame()).unwrap_or(Value::Null);
            if told["id"] == self.number {
                return told["result"].clone();
            }
        }
    }

    /// The next message, of however many frames.
    fn frame(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let mut read = |length: usize| {
                let mut bytes = vec![0; length];
                self.stream.read_exact(&mut bytes).expect("it goes on");
                bytes
            };
            let head = read(2);
            let length = match head[1] & 0x7f {
                126 => read(2).iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                127 => read(8).iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                short => usize::from(short),
            };
            message.extend(read(length));
            if head[0] & 0x80 != 0 {
                return message;
            }
        }
    }
}
