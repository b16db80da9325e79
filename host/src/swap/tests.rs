//! What needs no policies; the rest is in `tests/swap.rs`.

use std::path::Path;

use super::*;

fn is_send<T: Send>() {}

#[test]
fn what_is_prepared_elsewhere_may_go_there_and_come_back() {
    is_send::<Candidate>();
    is_send::<Moment>();
    is_send::<Ready>();
    is_send::<Shadow>();
    is_send::<Engine>();
}

#[test]
fn a_file_that_is_written_renamed_linked_or_gone_looks_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("it is written");
    let file = at("policies.yaml");
    let mut stamps = Stamps::default();
    let mut has_changed = |what: &str| {
        let changed = stamps.have_changed();
        stamps = Stamps::default();
        stamps.add(&file);
        assert!(!stamps.have_changed(), "{what}: seen is seen");
        changed
    };
    assert!(!has_changed("nothing is known yet"));
    write(&file, "one");
    assert!(has_changed("it is there"));
    write(&file, "three");
    assert!(has_changed("it is longer"));
    // As editors do it: another file takes its name.
    write(&at("new"), "threE");
    std::fs::rename(at("new"), &file).expect("it is renamed");
    assert!(has_changed("another file has its name"));
    std::fs::remove_file(&file).expect("it is removed");
    assert!(has_changed("it is gone"));
    #[cfg(unix)]
    {
        // As a mounted ConfigMap does it: the link is to a file behind a link that is swapped.
        use std::os::unix::fs::symlink;
        for revision in ["a", "b"] {
            std::fs::create_dir(at(revision)).expect("a folder");
            write(&at(revision).join("policies.yaml"), "same length");
        }
        symlink("a", at("..data")).expect("a link");
        symlink("..data/policies.yaml", &file).expect("a link");
        assert!(has_changed("it is a link now"));
        symlink("b", at("..new")).expect("a link");
        std::fs::rename(at("..new"), at("..data")).expect("it is renamed");
        assert!(has_changed("the link leads elsewhere"));
    }
}
