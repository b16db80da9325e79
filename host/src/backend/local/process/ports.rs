//! Ports for children: free ones of the system, none of them twice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// Attempts to get a port that no other child has.
const ATTEMPTS: usize = 64;

/// The ports that children have.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// A port that a child has as long as this lives.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) port: u16,
    ports: Ports,
}

impl Ports {
    /// A port where nobody listens now. Somebody else may before the child does; then the child gets another.
    pub(super) fn any(&self) -> Result<Taken, String> {
        for _ in 0..ATTEMPTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let port = listener.and_then(|listener| listener.local_addr()).map(|it| it.port());
            let port = port.map_err(|error| format!("the system gives no port: {error}"))?;
            if let Some(taken) = self.claim(port) {
                return Ok(taken);
            }
        }
        Err("the system gives no port that no other replica has".to_owned())
    }

    /// The port on which a child insists.
    pub(super) fn fixed(&self, port: u16) -> Result<Taken, String> {
        let taken = self.claim(port);
        let taken = taken.ok_or_else(|| format!("port {port} is another replica's"))?;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => Ok(taken),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(format!("port {port} is taken: another program listens there"))
            }
            Err(error) => Err(format!("port {port} cannot be used: {error}")),
        }
    }

    fn claim(&self, port: u16) -> Option<Taken> {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ports.insert(port).then(|| Taken { port, ports: self.clone() })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.ports.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

/// Whether a child's last words say that its port was taken.
pub(super) fn is_taken(last_lines: &[String]) -> bool {
    last_lines.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        ["address already in use", "eaddrinuse", "address in use", "port is already in use"]
            .iter()
            .any(|words| line.contains(words))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_one_that_somebody_has_is_refused_by_name() {
        let ports = Ports::default();
        let taken: Vec<Taken> = (0..50).map(|_| ports.any().expect("there are ports")).collect();
        let distinct: BTreeSet<u16> = taken.iter().map(|taken| taken.port).collect();
        assert_eq!(distinct.len(), taken.len());
        let port = taken[0].port;
        assert_eq!(
            ports.fixed(port).expect_err("it is taken"),
            format!("port {port} is another replica's")
        );
        drop(taken);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
        let port = listener.local_addr().expect("it is bound").port();
        let refused = ports.fixed(port).expect_err("somebody listens");
        assert_eq!(refused, format!("port {port} is taken: another program listens there"));
        drop(listener);
        assert_eq!(ports.fixed(port).map(|taken| taken.port), Ok(port));
    }

    #[test]
    fn last_words_of_servers_whose_port_is_taken_are_known() {
        for line in [
            "OSError: [Errno 98] Address already in use",
            "Error: listen EADDRINUSE: address already in use :::8000",
            "ERROR: [Errno 48] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
        ] {
            assert!(is_taken(&["Traceback".to_owned(), line.to_owned()]), "{line}");
        }
        assert!(!is_taken(&["out of memory".to_owned()]));
    }
}
