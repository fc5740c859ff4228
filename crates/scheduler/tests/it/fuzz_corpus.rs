//! Does the corpus of scheduling documents pass on a stable compiler?

use std::path::Path;

#[allow(unreachable_pub, reason = "public where the fuzz target uses it")]
#[path = "../../../../fuzz/src/scheduling.rs"]
mod body;

#[test]
fn documents_replayed() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/scheduling_document");
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("an input");
        body::scheduling_document(&data);
        // A document that ends early, at each of its lines.
        for (end, _) in data.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            body::scheduling_document(&data[..end]);
        }
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", folder.display());
}
