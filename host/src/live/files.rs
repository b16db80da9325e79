//! How many files and sockets this program may have open: as many as the system lets it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open beside connections: logs, journal, pipes of children.
const OTHERS: u64 = 512;
/// Sockets of a request: its client's, and its replica's.
const A_REQUEST: u64 = 2;

/// Raises this program's own limit to what the system allows at most. How many may be open then; `None`: any number.
pub fn raise_open_files() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    // Where that is refused, as macOS does for no limit at all, it stays as it was.
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current
}

/// Connections that can be open at once with so many files.
pub fn connections_with(open_files: u64) -> usize {
    let connections = open_files.saturating_sub(OTHERS) / A_REQUEST;
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_are_kept_for_each_connection_beside_those_of_everything_else() {
        let connections = [0, 512, 1_024, 33_280].map(connections_with);
        assert_eq!(connections, [1, 1, 256, 16_384]);
    }
}
