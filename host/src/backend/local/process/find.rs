//! Finds the program of a command before it is started, so that one that is missing is told by its name.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The program that `name` stands for: a path from `folder`, or a name among the folders of `path`. Else what is wrong.
pub(super) fn find(name: &str, folder: &Path, path: &OsStr) -> Result<PathBuf, String> {
    if name.contains('/') {
        let program = folder.join(name);
        return match std::fs::metadata(&program) {
            Ok(found) if is_program(&found) => Ok(program),
            Ok(found) if found.is_dir() => {
                Err(format!("{} is a folder, no program", program.display()))
            }
            Ok(_) => Err(format!("{} may not be run: it is not executable", program.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(format!("there is no program {}", program.display()))
            }
            Err(error) => Err(format!("{} cannot be run: {error}", program.display())),
        };
    }
    let found = std::env::split_paths(path)
        .map(|entry| folder.join(entry).join(name))
        .find(|program| std::fs::metadata(program).is_ok_and(|found| is_program(&found)));
    found.ok_or_else(|| format!("there is no command {name} in PATH"))
}

fn is_program(found: &std::fs::Metadata) -> bool {
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_or_what_is_wrong_is_told() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let root = folder.path();
        std::fs::create_dir(root.join("bin")).expect("it can be made");
        std::fs::write(root.join("bin/serve"), "").expect("it can be written");
        std::fs::write(root.join("bin/data"), "").expect("it can be written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(root.join("bin/serve"), mode).expect("it is ours");
        let path = std::env::join_paths(["/nowhere", "bin"]).expect("they have no colon");
        let told = |name: &str| {
            let found = find(name, root, &path).map(|program| program.display().to_string());
            let (Ok(text) | Err(text)) = found;
            text.replace(&root.display().to_string(), "DIR")
        };
        for (name, expected) in [
            ("serve", "DIR/bin/serve"),
            ("bin/serve", "DIR/bin/serve"),
            ("data", "there is no command data in PATH"),
            ("./bin/data", "DIR/./bin/data may not be run: it is not executable"),
            ("./bin", "DIR/./bin is a folder, no program"),
            ("/nowhere/serve", "there is no program /nowhere/serve"),
        ] {
            assert_eq!(told(name), expected, "{name}");
        }
    }
}
