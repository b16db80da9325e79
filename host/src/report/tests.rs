//! What people see, reviewed as text, and what a hostile policy must not be able to do to it.

use super::*;

#[test]
#[ignore = "prints samples for a person to look at"]
fn look() {
    let style = Style { colour: true, width: 110 };
    for outcome in [sample::small(), sample::large(2, 4_320, 720), sample::large(26, 86_400, 1_000)]
    {
        println!("{}", timeline(&outcome, style, Some(LINES)));
        println!("{}", summary(&outcome, style));
    }
    let folder = std::env::temp_dir().join("tidegate-look");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    for (name, outcome) in [
        ("small", sample::small()),
        ("demo", sample::large(2, 4_320, 720)),
        ("week", sample::large(26, 604_800, 1_000)),
    ] {
        let path = folder.join(format!("{name}.html"));
        std::fs::write(&path, page(&outcome)).expect("a temporary file");
        println!("{}", path.display());
    }
}
