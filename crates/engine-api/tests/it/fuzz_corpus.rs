//! Do the fuzz corpora pass on a stable compiler?

use std::path::Path;

#[allow(unreachable_pub, reason = "public where the fuzz targets use it")]
#[path = "../../../../fuzz/src/lib.rs"]
pub(crate) mod bodies;

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path).expect("an input");
        body(&data);
        // What a cut connection leaves of it.
        for end in 0..data.len().min(512) {
            body(&data[..end]);
        }
        replayed += 1;
    }
    assert!(replayed > 0, "{} is empty", folder.display());
}

#[test]
fn bodies_replayed() {
    replay("openai_body", bodies::openai_body);
}

#[test]
fn streams_replayed() {
    replay("sse", bodies::sse);
}

#[test]
fn pages_replayed() {
    replay("metrics_page", bodies::metrics_page);
}

#[test]
fn listings_replayed() {
    replay("models", bodies::models);
}

#[test]
fn kv_events_replayed() {
    replay("kv_events", bodies::kv_events);
}

#[test]
fn connections_replayed() {
    replay("zmtp", bodies::zmtp);
}
