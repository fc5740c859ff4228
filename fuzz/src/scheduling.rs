//! What must hold for every scheduling document, whatever it says?
//!
//! Apart from the other bodies because it needs the scheduler; a test of `scheduler` replays its corpus on a stable
//! compiler.

use scheduler::{Compiled, ConfigError, Document, SchedulingConfig, compile};

/// Every document is compiled or refused with words; what a compiled one dumps compiles to the same.
pub fn scheduling_document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match compiled(text) {
        Ok(first) => {
            let again = compiled(&first.dump()).expect("what was dumped is accepted");
            assert_eq!(again.profile.to_string(), first.profile.to_string());
            assert_eq!(again.dump(), first.dump());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn compiled(text: &str) -> Result<Compiled, ConfigError> {
    compile(&SchedulingConfig::document(Document::parse(text)?), 7)
}
